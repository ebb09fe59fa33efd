//! The kernel door: io_uring, descriptors, in-flight memory. Knows nothing of Redis.
