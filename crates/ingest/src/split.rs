//! Where the elements of a JSON array are, so that each can be read, or refused, by itself.

use memchr::memchr2;

use crate::{Error, Result};

/// Ranges of the elements of the array that begins at `body[start]`. Strings and brackets are followed, nothing else
/// is checked: what is wrong inside an element is found when it is read.
pub(crate) fn array_elements(body: &[u8], start: usize) -> Result<Vec<(usize, usize)>> {
    let mut elements = Vec::new();
    // Bit i tells whether the bracket at depth i is a brace; deeper ones are only counted.
    let mut open: Vec<u8> = Vec::new();
    let mut element = start + 1;
    let mut at = start + 1;
    loop {
        let Some(byte) = body.get(at) else {
            return Err(malformed(body.len(), "the array does not end"));
        };
        match byte {
            b'"' => at = skip_string(body, at)?,
            b'{' | b'[' => {
                open.push(*byte);
                at += 1;
            }
            b'}' | b']' => match (open.pop(), byte) {
                (Some(b'{'), b'}') | (Some(b'['), b']') => at += 1,
                (None, b']') => {
                    push(&mut elements, body, element, at, true)?;
                    break;
                }
                _ => return Err(malformed(at, "this bracket closes nothing")),
            },
            b',' if open.is_empty() => {
                push(&mut elements, body, element, at, false)?;
                element = at + 1;
                at += 1;
            }
            _ => at += 1,
        }
    }
    match body[at + 1..]
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
    {
        Some(offset) => Err(malformed(at + 1 + offset, "something follows the array")),
        None => Ok(elements),
    }
}

fn push(
    elements: &mut Vec<(usize, usize)>,
    body: &[u8],
    from: usize,
    to: usize,
    last: bool,
) -> Result<()> {
    let text = &body[from..to];
    let start = from + text.len() - text.trim_ascii_start().len();
    let end = start + text.trim_ascii().len();
    if start < end {
        elements.push((start, end));
        Ok(())
    } else if last && elements.is_empty() {
        Ok(())
    } else {
        Err(malformed(to, "an element is missing"))
    }
}

fn skip_string(body: &[u8], quote: usize) -> Result<usize> {
    let mut at = quote + 1;
    while let Some(offset) = body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        match body[at + offset] {
            b'"' => return Ok(at + offset + 1),
            _ => at += offset + 2,
        }
    }
    Err(malformed(quote, "the string does not end"))
}

fn malformed(offset: usize, detail: &str) -> Error {
    Error::MalformedJson {
        offset: offset as u64,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(body: &str) -> Result<Vec<&str>> {
        let ranges = array_elements(body.as_bytes(), 0)?;
        Ok(ranges
            .into_iter()
            .map(|(from, to)| &body[from..to])
            .collect())
    }

    #[test]
    fn elements_are_found_whatever_is_in_them() {
        assert_eq!(elements("[]").unwrap(), [""; 0]);
        assert_eq!(elements("[ ]\n").unwrap(), [""; 0]);
        let body = r#"[{"a":"]},\""} , [1,{"b":[2]}],3 ]"#;
        assert_eq!(
            elements(body).unwrap(),
            [r#"{"a":"]},\""}"#, r#"[1,{"b":[2]}]"#, "3"]
        );
    }

    #[test]
    fn a_broken_array_is_told_by_its_offset() {
        for (body, offset) in [
            ("[", 1),
            ("[1", 2),
            ("[1,]", 3),
            ("[,1]", 1),
            ("[{]", 2),
            ("[1}", 2),
            ("[1]x", 3),
            ("[\"a", 1),
        ] {
            match elements(body) {
                Err(Error::MalformedJson { offset: found, .. }) => {
                    assert_eq!(found, offset, "{body}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}
