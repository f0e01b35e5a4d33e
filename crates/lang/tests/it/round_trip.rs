//! What is printed is parsed to the same.

use logmill_lang::parse;
use proptest::prelude::*;

use crate::generator::query;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_printed_tree_parses_to_itself(tree in query()) {
        let text = tree.to_string();
        match parse(&text) {
            Ok(parsed) => prop_assert_eq!(parsed, tree, "{}", text),
            Err(error) => prop_assert!(false, "{text}: {error}"),
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~\\n]{0,60}") {
        let _ = parse(&text);
    }

    /// Words that mean something, in any order: far more of them parse than of texts of any characters.
    #[test]
    fn no_words_make_the_parser_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..24)) {
        for text in [words.concat(), words.join(" ")] {
            if let Ok(tree) = parse(&text) {
                let printed = tree.to_string();
                prop_assert_eq!(parse(&printed), Ok(tree), "{} printed as {}", text, printed);
            }
        }
    }
}

const WORDS: &[&str] = &[
    "foo",
    "bar",
    "5",
    "1h",
    "10KB",
    "_time",
    "_msg",
    "_stream",
    "_stream_id",
    "2026-11-20",
    "offset",
    ":",
    ":",
    "*",
    "(",
    ")",
    "[",
    "]",
    ",",
    "=",
    "!=",
    "~",
    "=~",
    "!~",
    ">",
    "<",
    "!",
    "-",
    "+",
    "/",
    "{",
    "}",
    "or",
    "and",
    "not",
    "in",
    "i",
    "range",
    "seq",
    "contains_any",
    "string_range",
    "len_range",
    "ipv4_range",
    "1.2.3.4",
    "'a b'",
    "\"c\\n\"",
    "`d`",
    "\"",
    "|",
    "|",
    "| fields",
    "| stats",
    "count()",
    "sum(",
    "by (",
    "as",
    "if (",
    "| sort by (",
    "desc",
    "limit",
    "rank",
    "| math",
    "round(",
    "| extract '<a> b'",
    "from",
    "at",
    "| format",
    "| uniq by (",
    "| top",
    "| join by (a) (",
    "| union (",
    "# x\n",
    "month",
    "options(concurrency=2)",
    "| unpack_json",
    "result_prefix",
    "| limit",
    "| where",
    "| rename",
    "| copy a* as b*",
];
