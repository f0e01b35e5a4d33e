//! Bars in a terminal.

/// Eighths of a cell, from one to all of it.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A bar as long as `value` is of `most`, in cells; nothing is shown for 0 alone.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a picture: a share of some cells, between 0 and a few hundred"
)]
pub(crate) fn bar(value: u64, most: u64, cells: usize) -> String {
    if value == 0 || most == 0 {
        return String::new();
    }
    let share = (value as f64 / most as f64).min(1.0);
    let eighths = ((share * (cells * 8) as f64).round() as usize).max(1);
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = (eighths % 8).checked_sub(1) {
        bar.push(EIGHTHS[part]);
    }
    bar
}

/// The cells that each of several parts of a bar has, which together are as long as their sum is of `most`.
pub(crate) fn parts(values: &[u64], most: u64, cells: usize) -> Vec<usize> {
    let at = |sum: u64| {
        let cells = u128::from(sum) * cells as u128 * 2 + u128::from(most);
        usize::try_from(cells / (u128::from(most.max(1)) * 2)).unwrap_or(0)
    };
    let mut sum = 0;
    let mut end = 0;
    let part = values.iter().map(|value| {
        sum += value;
        let begin = end;
        // What is there is seen.
        end = at(sum).max(begin + usize::from(*value > 0));
        end - begin
    });
    part.collect()
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Text in a colour of the terminal's.
pub(crate) fn paint(text: &str, code: &str, color: bool) -> String {
    if color && !text.is_empty() && !code.is_empty() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0, 10, 4), "");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(5, 10, 3), "█▌");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(7, 0, 4), "");
    }

    #[test]
    fn parts_of_a_bar_add_up_and_none_is_lost() {
        assert_eq!(parts(&[50, 25, 25], 100, 40), [20, 10, 10]);
        assert_eq!(parts(&[1, 0, 999], 2_000, 40), [1, 0, 19]);
        assert_eq!(parts(&[0, 0], 0, 40), [0, 0]);
    }

    #[test]
    fn thousands_are_told_apart() {
        let texts = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
