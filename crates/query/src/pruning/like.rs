//! What texts have that are LIKE a pattern.

use super::pieces::{Piece, literal, literal_in_any_case};

/// The pieces of a pattern; `\` escapes, as in the kernel that evaluates it.
pub(super) fn pieces(pattern: &str, any_case: bool) -> Vec<Piece> {
    let mut pieces = vec![Piece::Boundary];
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let character = match character {
            '%' | '_' => {
                pieces.push(Piece::Unknown);
                continue;
            }
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        };
        let mut buffer = [0; 4];
        let text = &*character.encode_utf8(&mut buffer);
        if any_case {
            pieces.extend(literal_in_any_case(text));
        } else {
            pieces.extend(literal(text));
        }
    }
    pieces.push(Piece::Boundary);
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::pieces::certain_tokens;
    use super::*;

    #[test]
    fn anchored_edges_are_certain_and_wildcards_cut() {
        let cases: [(&str, bool, &[&str]); 8] = [
            ("%disk full%", false, &[]),
            ("%a disk full%", false, &["disk"]),
            ("disk full", false, &["disk", "full"]),
            ("disk%full", false, &[]),
            ("disk %full", false, &["disk"]),
            ("a_b c", false, &["c"]),
            (r"100\% x\_y", false, &["100", "x_y"]),
            ("%-Kelvin-É-%", true, &["Kelvin"]),
        ];
        for (pattern, any_case, expected) in cases {
            let found: Vec<String> = certain_tokens(&pieces(pattern, any_case)).concat();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
