//! What texts have that match a regular expression.

use logmill_model::token::is_token_char;
use regex_syntax::Parser;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::pieces::Piece;

/// Sequences that a pattern may become before parts of it are taken as unknown.
const SEQUENCES_MAX: usize = 64;
/// Copies of a repeated part that are written out.
const COPIES_MAX: u32 = 16;
/// Pieces of a sequence.
const PIECES_MAX: usize = 1_000;
/// Characters of a class that are looked at.
const CLASS_MAX: u32 = 512;

type Sequences = Vec<Vec<Piece>>;

/// Sequences of which every match has one; `None` when the pattern is none.
pub(super) fn sequences(pattern: &str, flags: &str) -> Option<Sequences> {
    let with_flags = if flags.is_empty() {
        pattern.to_owned()
    } else {
        format!("(?{flags}){pattern}")
    };
    let hir = Parser::new().parse(&with_flags).ok()?;
    Some(of(&hir))
}

fn unknown() -> Sequences {
    vec![vec![Piece::Unknown]]
}

fn of(hir: &Hir) -> Sequences {
    match hir.kind() {
        HirKind::Empty => vec![Vec::new()],
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => vec![text.chars().map(Piece::Char).collect()],
            Err(_not_text) => unknown(),
        },
        HirKind::Class(class) => vec![vec![of_class(class)]],
        HirKind::Look(look) => match look {
            Look::Start
            | Look::End
            | Look::StartLF
            | Look::EndLF
            | Look::StartCRLF
            | Look::EndCRLF => vec![vec![Piece::Boundary]],
            // What a word is there is not quite what a token is.
            _ => unknown(),
        },
        HirKind::Repetition(repetition) => of_repetition(repetition),
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Concat(parts) => parts
            .iter()
            .fold(vec![Vec::new()], |before, part| follow(before, of(part))),
        HirKind::Alternation(parts) => {
            let all = parts.iter().flat_map(of).take(SEQUENCES_MAX + 1);
            let all: Sequences = all.collect();
            if all.len() > SEQUENCES_MAX {
                unknown()
            } else {
                all
            }
        }
    }
}

/// Every sequence of `before` and after it every one of `after`.
fn follow(mut before: Sequences, after: Sequences) -> Sequences {
    let long = |sequences: &Sequences| sequences.iter().any(|pieces| pieces.len() > PIECES_MAX);
    if before.len() * after.len() > SEQUENCES_MAX || long(&before) || long(&after) {
        for pieces in &mut before {
            if pieces.last() != Some(&Piece::Unknown) {
                pieces.push(Piece::Unknown);
            }
        }
        return before;
    }
    let both = before.iter().flat_map(|first| {
        after
            .iter()
            .map(|second| [first.as_slice(), second].concat())
    });
    both.collect()
}

fn of_repetition(repetition: &Repetition) -> Sequences {
    let sub = of(&repetition.sub);
    let exact = repetition.max == Some(repetition.min);
    match (repetition.min, repetition.max) {
        (0, Some(1)) => {
            let mut either = sub;
            either.push(Vec::new());
            either
        }
        (0, _) => unknown(),
        // One boundary or many: what is before and after them is as certain.
        _ if sub
            .iter()
            .all(|pieces| pieces.as_slice() == [Piece::Boundary]) =>
        {
            sub
        }
        (copies, _) if exact && copies <= COPIES_MAX => (0..copies)
            .fold(vec![Vec::new()], |before, _copy| {
                follow(before, sub.clone())
            }),
        _ => follow(follow(sub.clone(), unknown()), sub),
    }
}

/// A class that is one character in any case, or has no character of a token.
fn of_class(class: &Class) -> Piece {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .map(|range| (range.start(), range.end()))
            .collect(),
        Class::Bytes(class) => {
            let ascii = class.ranges().iter().all(|range| range.end().is_ascii());
            if !ascii {
                return Piece::Unknown;
            }
            let ranges = class.ranges().iter();
            ranges
                .map(|range| (char::from(range.start()), char::from(range.end())))
                .collect()
        }
    };
    let count = ranges
        .iter()
        .map(|(start, end)| u32::from(*end) - u32::from(*start) + 1)
        .fold(0, u32::saturating_add);
    if count == 0 || count > CLASS_MAX {
        return Piece::Unknown;
    }
    let members = || ranges.iter().flat_map(|(start, end)| *start..=*end);
    if members().all(|member| !is_token_char(member)) {
        return Piece::Boundary;
    }
    if members().all(|member| matches!(member, 's' | 'S' | 'ſ')) {
        return Piece::AnyS;
    }
    let mut lower = members().map(|member| {
        let mut lower = member.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(one), None) if one.is_ascii() => Some(one),
            _ => None,
        }
    });
    match lower.next() {
        Some(Some(first)) if lower.all(|other| other == Some(first)) => Piece::Char(first),
        _ => Piece::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pieces::certain_tokens;
    use super::*;

    fn tokens(pattern: &str, flags: &str) -> Vec<Vec<String>> {
        let all = sequences(pattern, flags).unwrap();
        all.iter()
            .map(|pieces| certain_tokens(pieces).concat())
            .collect()
    }

    #[test]
    fn certain_tokens_of_patterns() {
        let cases: [(&str, &str, &[&[&str]]); 21] = [
            ("disk", "", &[&[]]),
            ("a disk b", "", &[&["disk"]]),
            ("^disk full$", "", &[&["disk", "full"]]),
            ("^disk full", "", &[&["disk"]]),
            ("(?m)^disk$", "", &[&["disk"]]),
            (r"\bdisk\b", "", &[&[]]),
            (r"x disk\s+full y", "", &[&["disk", "full"]]),
            (r"x disk\s*full y", "", &[&[]]),
            ("x (disk|tape) y", "", &[&["disk"], &["tape"]]),
            ("^(a b|c)", "", &[&["a"], &[]]),
            ("^disks? ", "", &[&["disks"], &["disk"]]),
            ("^(ab)+ x ", "", &[&["x"]]),
            ("^(ab){2} ", "", &[&["abab"]]),
            ("^(ab)* x ", "", &[&["x"]]),
            ("^(ab) .* cd ", "", &[&["ab", "cd"]]),
            ("-Kilo-", "i", &[&["kilo"]]),
            ("-disk-", "i", &[&["disk", "diſk"]]),
            ("-(?i:é)a-b-", "", &[&["b"]]),
            ("-[ab]c-d-", "", &[&["d"]]),
            ("-É-İ-", "", &[&["É", "İ"]]),
            ("-a b-", "x", &[&["ab"]]),
        ];
        for (pattern, flags, expected) in cases {
            assert_eq!(tokens(pattern, flags), expected, "{pattern}");
        }
        assert_eq!(sequences("(", ""), None);
        let many = "-(a|b|c|d|e|f|g|h)".repeat(5) + "-z-";
        assert!(
            tokens(&many, "")
                .iter()
                .all(|t| t.contains(&"z".to_owned()))
        );
    }
}
