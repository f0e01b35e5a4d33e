//! Errors with a caret under the place that they are about.

/// The error, and where its text names a place of the query (`line 2, column 7`), that line with a caret.
pub(crate) fn explain(error: &str, query: &str, color: bool) -> String {
    let (red, plain) = if color {
        ("\u{1b}[31m", "\u{1b}[0m")
    } else {
        ("", "")
    };
    let message = format!("{red}error:{plain} {error}");
    let Some((line, column)) = place(error) else {
        return message;
    };
    let Some(text) = query.lines().nth(line.saturating_sub(1)) else {
        return message;
    };
    // Tabs stay, so that the caret stands under its place.
    let before = text.chars().take(column.saturating_sub(1));
    let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!("{message}\n  {text}\n  {indent}{red}^{plain}")
}

/// Line and column, both from 1, that a message names.
fn place(message: &str) -> Option<(usize, usize)> {
    let number = |text: &str| {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse().ok()
    };
    let (_, rest) = message.split_once("line ")?;
    let (_, column) = rest.split_once("column ")?;
    Some((number(rest)?, number(column)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let error = "syntax error at line 2, column 6: expected a number (syntax_error)";
        let told = explain(error, "first\n\tab cd ef", false);
        assert_eq!(told, format!("error: {error}\n  \tab cd ef\n  \t    ^"));
        assert_eq!(explain("no place", "x", false), "error: no place");
        assert_eq!(
            explain("at line 9, column 1", "x", false),
            "error: at line 9, column 1"
        );
        assert!(explain(error, "a\nb", true).contains("\u{1b}[31m^"));
    }
}
