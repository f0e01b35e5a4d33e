//! Looks for a literal in all texts of a column at once. Texts of a page stand one after the other in memory, and starting
//! anew for each of them takes longer than looking through it.

use arrow_array::{Array, StringViewArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_data::{ByteView, MAX_INLINE_VIEW_LEN};
use memchr::memmem::Finder;
use regex_syntax::hir::{Hir, HirKind};

/// Bytes of texts that are looked through together: they stay in the processor's cache.
const TOGETHER_BYTES: usize = 32 << 10;

/// Bytes between two texts, of others that are not asked about, that are worth looking through.
const GAP_BYTES: usize = 256;

/// What is true of a text only if a literal is in it.
pub(crate) trait LiteralTest {
    /// The answer for a text, whether it has the literal or not.
    fn of(&mut self, text: &str) -> bool;

    /// What a place of the literal says of the text that has it there. The text is in lower case if the literal is looked
    /// for in any case.
    fn at(&mut self, _text: &[u8], _place: usize) -> Says {
        Says::AskText
    }
}

/// What a place of a literal says of a text.
pub(crate) enum Says {
    /// The test is true of it.
    Yes,
    /// Another place may say more.
    Nothing,
    /// It is for the text to say.
    AskText,
}

impl<F: FnMut(&str) -> bool> LiteralTest for F {
    fn of(&mut self, text: &str) -> bool {
        self(text)
    }
}

/// A literal to be looked for in many texts.
pub(crate) struct Literal {
    finder: Finder<'static>,
    any_case: bool,
    /// Texts in lower case.
    lower: Vec<u8>,
}

/// A text by its place in the block that has it.
struct Placed {
    start: usize,
    end: usize,
    row: usize,
}

impl Literal {
    /// One that is not empty; if it is looked for in any case, ASCII in lower case.
    pub(crate) fn new(literal: &[u8], any_case: bool) -> Self {
        Self {
            finder: Finder::new(literal).into_owned(),
            any_case,
            lower: Vec::new(),
        }
    }

    /// The test's answer for each text; false for those that are null.
    pub(crate) fn test(
        &mut self,
        texts: &StringViewArray,
        test: &mut impl LiteralTest,
    ) -> BooleanBuffer {
        let mut found = BooleanBufferBuilder::new(texts.len());
        found.append_n(texts.len(), false);
        let block = match texts.data_buffers() {
            [block] => block.as_slice(),
            _ => &[],
        };
        let mut together: Vec<Placed> = Vec::new();
        for (row, view) in texts.views().iter().enumerate() {
            if texts.is_null(row) {
                continue;
            }
            let view = ByteView::from(*view);
            let (start, length) = (view.offset as usize, view.length as usize);
            if view.length <= MAX_INLINE_VIEW_LEN || start + length > block.len() {
                // A short text is in the view itself.
                found.set_bit(row, test.of(texts.value(row)));
                continue;
            }
            let end = start + length;
            if let (Some(first), Some(last)) = (together.first(), together.last()) {
                let near = (last.end..=last.end + GAP_BYTES).contains(&start);
                if !near || end - first.start > TOGETHER_BYTES {
                    self.look_through(block, &together, texts, test, &mut found);
                    together.clear();
                }
            }
            together.push(Placed { start, end, row });
        }
        self.look_through(block, &together, texts, test, &mut found);
        found.finish()
    }

    fn look_through(
        &mut self,
        block: &[u8],
        placed: &[Placed],
        texts: &StringViewArray,
        test: &mut impl LiteralTest,
        found: &mut BooleanBufferBuilder,
    ) {
        let (Some(first), Some(last)) = (placed.first(), placed.last()) else {
            return;
        };
        let before = first.start;
        let mut bytes = &block[before..last.end];
        if self.any_case {
            if !bytes.is_ascii() {
                // Folding changes the length of other texts.
                for text in placed {
                    found.set_bit(text.row, test.of(texts.value(text.row)));
                }
                return;
            }
            self.lower.clear();
            self.lower.extend_from_slice(bytes);
            self.lower.make_ascii_lowercase();
            bytes = &self.lower;
        }
        let length = self.finder.needle().len();
        let mut left = placed.iter();
        let mut current = left.next();
        let mut from = 0;
        while let Some(place) = bytes.get(from..).and_then(|rest| self.finder.find(rest)) {
            let place = from + place;
            while current.is_some_and(|text| text.end - before <= place) {
                current = left.next();
            }
            let Some(text) = current else {
                break;
            };
            let (start, end) = (text.start - before, text.end - before);
            from = place + 1;
            // It may be in what is between two texts, or begin in one and end in the next.
            if place >= start && place + length <= end {
                let holds = match test.at(&bytes[start..end], place - start) {
                    Says::Yes => true,
                    Says::Nothing => continue,
                    Says::AskText => test.of(texts.value(text.row)),
                };
                found.set_bit(text.row, holds);
                from = end;
            }
        }
    }
}

/// The longest literal that every match of a regular expression has in it; none when there is none, or when it is no
/// expression.
pub(crate) fn of_regex(pattern: &str) -> Option<Vec<u8>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    required(&hir).map(<[u8]>::to_vec)
}

fn required(hir: &Hir) -> Option<&[u8]> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(&literal.0),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => parts
            .iter()
            .filter_map(required)
            .max_by_key(|literal| literal.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;
    use arrow_array::cast::AsArray;
    use proptest::prelude::*;

    use super::*;

    fn parts() -> impl Strategy<Value = Vec<Option<Vec<&'static str>>>> {
        let part = prop::sample::select(vec![
            "needle",
            "Needle",
            "need",
            "le",
            " ",
            "x",
            "é",
            "a longer part of a text, ",
            "",
        ]);
        let text = prop::collection::vec(part, 0..6);
        prop::collection::vec(prop::option::weighted(0.9, text), 0..200)
    }

    proptest! {
        /// Looking through many texts at once says of each what looking at it alone says.
        #[test]
        fn every_text_gets_its_own_answer(
            texts in parts(),
            step in 1_usize..4,
            any_case in any::<bool>(),
        ) {
            let texts = texts.into_iter().map(|text| text.map(|parts| parts.concat()));
            let texts: StringArray = texts.collect();
            let views = StringViewArray::from(&texts);
            // Some of the rows, as a filter leaves them.
            let rows = (0..views.len()).map(|row| row % step == 0);
            let some: arrow_array::BooleanArray = rows.map(Some).collect();
            let some = arrow_select::filter::filter(&views, &some).unwrap();
            let some = some.as_string_view();
            let is = |text: &str| match any_case {
                true => text.to_lowercase().contains("needle"),
                false => text.contains("needle"),
            };
            let mut literal = Literal::new(b"needle", any_case);
            let found: Vec<bool> = literal.test(some, &mut is.clone()).iter().collect();
            let expected = some.iter().map(|text| text.is_some_and(is));
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_literal_of_an_expression_is_in_every_match() {
        let of = |pattern| of_regex(pattern).map(|literal| String::from_utf8(literal).unwrap());
        assert_eq!(of("blk_[0-9]+5 ").as_deref(), Some("blk_"));
        assert_eq!(of("^a(bc|d)e(fghi)+$").as_deref(), Some("fghi"));
        assert_eq!(of("a(longer)?").as_deref(), Some("a"));
        for none in ["(?i)abc", "a|b", "[0-9]+", "", "(", "(abc)*"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
