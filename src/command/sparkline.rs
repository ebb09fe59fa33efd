//! A row of numbers as a drawing of characters: columns of `_`, `o` and `#` on top of `|`, with a
//! label under each that is read from top to bottom.

/// One number.
pub struct Point {
    /// Its value.
    pub value: f64,
    /// What stands under it.
    pub label: String,
}

/// What tops a column, by how much of its last row is filled.
const TOPS: [char; 3] = ['_', 'o', '#'];

/// Draws the points, `columns` side by side, each up to `rows` high.
pub fn render(points: &[Point], columns: usize, rows: usize) -> String {
    let values = || points.iter().map(|p| p.value);
    let (least, most) =
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let range = if most > least { most - least } else { 1.0 };
    let steps = TOPS.len() * rows;
    let height = |p: &Point| (((p.value - least) * steps as f64 / range) as usize).min(steps - 1);
    let drawn = points.chunks(columns).map(|some| {
        let heights: Vec<usize> = some.iter().map(height).collect();
        let labels: Vec<Vec<char>> = some.iter().map(|p| p.label.chars().collect()).collect();
        let deepest = labels.iter().map(Vec::len).max().unwrap_or(0);
        let mut text = String::new();
        for row in (0..rows).rev() {
            let floor = row * TOPS.len();
            text.extend(heights.iter().map(|step| match step.checked_sub(floor) {
                None => ' ',
                Some(above) => TOPS.get(above).copied().unwrap_or('|'),
            }));
            text.push('\n');
        }
        text.push_str(&" ".repeat(some.len()));
        text.push('\n');
        for at in 0..deepest {
            text.extend(labels.iter().map(|label| label.get(at).copied().unwrap_or(' ')));
            text.push('\n');
        }
        text
    });
    drawn.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[(u32, &str)]) -> Vec<Point> {
        values.iter().map(|(v, l)| Point { value: f64::from(*v), label: (*l).into() }).collect()
    }

    #[test]
    fn drawings() {
        let text = render(&points(&[(1, "9s"), (12, "12m"), (7, "1h")]), 80, 4);
        assert_eq!(text, " # \n |_\n ||\n_||\n   \n911\ns2h\n m \n");
        assert_eq!(render(&points(&[(5, "1s")]), 80, 4), " \n \n \n_\n \n1\ns\n");
        assert_eq!(render(&points(&[(1, "a"), (1, "b")]), 1, 1), "_\n \na\n\n_\n \nb\n");
    }
}
