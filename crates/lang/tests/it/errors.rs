//! What is said about queries that are none.

use logmill_lang::{MAX_DEPTH, MAX_LENGTH, parse, parse_filter};

/// Where the error is (the text in front of it), and what is said.
#[track_caller]
fn check(text: &str, before: &str, expected: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(&text[..error.offset], before, "{error}");
    let hint = error
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!("; {hint}"));
    assert_eq!(format!("{}{hint}", error.message), expected, "{text}");
}

#[test]
fn the_place_is_told_in_lines_and_characters() {
    let error = parse("жж\n  | limit\n  | é foo(").unwrap_err();
    assert_eq!((error.line, error.column), (3, 7));
    assert_eq!(error.offset, "жж\n  | limit\n  | é ".len());
    let text = error.to_string();
    assert!(text.contains("at line 3, column 7"), "{text}");
}

#[test]
fn slips_are_guessed() {
    check(
        "* | stts count()",
        "* | ",
        "there is no pipe `stts`; did you mean `stats`? To search for the word, write `filter stts`",
    );
    check(
        "* | limt 5",
        "* | ",
        "there is no pipe `limt`; did you mean `limit`? To search for the word, write `filter limt`",
    );
    check(
        "contans_all(a, b)",
        "",
        "there is no function `contans_all` in filters; did you mean `contains_all`?",
    );
    check(
        "* | stats coutn() x",
        "* | stats ",
        "there is no function of `stats` `coutn`; did you mean `count`?",
    );
    check(
        "* | math roud(a) x",
        "* | math ",
        "there is no function of `math` `roud`; did you mean `round`?",
    );
    check(
        "options(concurency=2) *",
        "options(",
        "there is no option `concurency`; did you mean `concurrency`?",
    );
    check(
        "_time:week_range[Mom, Fri]",
        "_time:week_range[",
        "there is no day of the week `Mom`; did you mean `Mon`?",
    );
}

#[test]
fn operators_want_a_colon() {
    check(
        "level = error",
        "level ",
        "`=` needs the name of a field with a colon in front of it; did you mean `level:=…`?",
    );
    check(
        "status >= 500",
        "status ",
        "`>` needs the name of a field with a colon in front of it; did you mean `status:>…`?",
    );
    check(
        "level == error",
        "level ",
        "`=` needs the name of a field with a colon in front of it; did you mean `level:=…`?",
    );
    check(
        "level:=~error",
        "level:",
        "`=~` is an operator of streams, `{label=~\"…\"}`; write `field:~\"…\"` for a regular expression",
    );
    // These have a meaning.
    for text in [
        "level=error",
        "error =x",
        "a:b =x",
        "level:= error",
        "size:> 10KB",
    ] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn what_is_missing_is_named() {
    check(
        "",
        "",
        "a filter is missing, the end of the query is there; `*` matches every record",
    );
    check(
        "a and",
        "a and",
        "a filter is missing, the end of the query is there",
    );
    check(
        "or a",
        "",
        "a filter is missing in front of `or`; put the word in quotes to search for it",
    );
    check(
        "a:",
        "a:",
        "a filter is missing, the end of the query is there; `field:*` matches any value, `field:\"\"` none",
    );
    check(
        "a (b or c",
        "a (b or c",
        "`)` is missing for the `(` at line 1, column 3",
    );
    check(
        "a)",
        "a",
        "`)` has no place here; there is no `(` for this `)`",
    );
    check(
        "* |",
        "* |",
        "a pipe is missing, the end of the query is there",
    );
    check(
        "* | limit 5 x",
        "* | limit 5 ",
        "`x` has no place in the pipe `limit`; the next pipe begins with `|`",
    );
    check(
        "limit 5",
        "",
        "a filter cannot begin with `limit`, the name of a pipe or a function of `stats`; write `* | limit …` for the pipe, or put the word in quotes to search for it",
    );
    check(
        "{app=\"a\"",
        "{app=\"a\"",
        "`}` is missing after the labels, the end of the query is there",
    );
    check(
        "{app}",
        "{app",
        "an operator is missing after the label `app`, `}` is there; there are: =, !=, =~, !~, in (…), not_in (…)",
    );
    check(
        "a:in(b c)",
        "a:in(b ",
        "`,` or `)` is missing in `in(…)`, `c` is there; a subquery ends with `| fields name` or `| uniq by (name)`",
    );
    check(
        "a:in(* | limit 5)",
        "a:in(* | limit 5",
        "it is not clear which values `in` takes from its subquery; end it with `| fields name` or `| uniq by (name)`, with a single name",
    );
    check(
        "options(concurrency:2) *",
        "options(concurrency",
        "`=` is missing after the option `concurrency`, `:` is there",
    );
    check(
        "* | sort by (a) partition by (b)",
        "* | sort by (a) partition by (b)",
        "`partition by` needs a `limit`, that of every partition",
    );
    check(
        "* | stats count() a, sum(x) a",
        "* | stats count() a, ",
        "there is another field `a` in the answer; name it with `as other_name`",
    );
    check(
        "* | stream_context",
        "* | stream_context",
        "`before N` or `after N` is missing in `stream_context`",
    );
}

#[test]
fn values_that_are_none_are_refused() {
    check(
        "\"a",
        "",
        "this quote has no partner; end the text with \", or put it in other quotes",
    );
    check(
        "\"a\\qb\"",
        "\"a",
        "this is no escape that can be read; write `\\\\` for a backslash, or put the text in backticks, in which nothing is escaped",
    );
    check(
        "a:~\"(b\"",
        "a:~",
        "this is no regular expression: unclosed group",
    );
    check(
        "a:range(x, 5)",
        "a:range(",
        "`x` is no number; numbers are written as 12, -1.5, 1_000, 10KiB, 1h30m, inf, an RFC 3339 time or an IPv4 address",
    );
    check(
        "* | limit x",
        "* | limit ",
        "a number of records is wanted here, `x` is none",
    );
    check(
        "* | sample 0",
        "* | sample ",
        "a number of records has to be greater than 0",
    );
    check(
        "* | stats quantile(2, a)",
        "* | stats quantile(",
        "`quantile` takes a number between 0 and 1, not 2",
    );
    check(
        "* | stats by (a:foo) count()",
        "* | stats by (a:",
        "`foo` is no width of buckets; steps are written as 100, 10KB, 5m, day, month, year or /24",
    );
    check(
        "* | extract 'abc'",
        "* | extract ",
        "the pattern names no field; fields stand in angle brackets, as in \"ip=<ip> \"",
    );
    check(
        "* | extract_regexp '(a)'",
        "* | extract_regexp ",
        "the regular expression has no named group; groups are named as in \"ip=(?P<ip>[0-9.]+)\"",
    );
    check(
        "* | rename a as b*",
        "* | rename ",
        "a name becomes a name, and a prefix becomes a prefix; for example `foo as bar` or `foo* as bar*`",
    );
    check(
        "* | math round(a, b, c) x",
        "* | math ",
        "`round` takes one or two arguments, not 3",
    );
    check(
        "* | math 5foo + 1",
        "* | math ",
        "`5foo` is no number; put the name of a field that begins with a digit in quotes",
    );
}

#[test]
fn a_filter_has_no_pipes() {
    assert!(parse_filter("a b:c").is_ok());
    let error = parse_filter("a | limit 5").unwrap_err();
    assert_eq!(
        (error.offset, error.message.as_str()),
        (2, "a filter is wanted here, without pipes")
    );
}

#[test]
fn depth_and_length_have_bounds() {
    for opening in [
        "(",
        "!(",
        "a:(",
        "a:in(",
        "-",
        "not ",
        "a:in(b or (",
        "_time:[1h, 1h) in(",
    ] {
        let text = opening.repeat(10_000);
        assert!(parse(&text).is_err(), "{opening}");
    }
    for text in ["((", "-(", "round(", "1+(", "a default -("] {
        assert!(
            parse(&format!("* | math {}", text.repeat(5_000))).is_err(),
            "{text}"
        );
    }
    assert!(parse(&format!("* | math a{}", "+a".repeat(100_000))).is_err());
    assert!(parse(&format!("*{}", " | union (*".repeat(10_000))).is_err());
    assert!(
        parse(&format!(
            "{}a{}",
            "(".repeat(MAX_DEPTH / 2),
            ")".repeat(MAX_DEPTH / 2)
        ))
        .is_ok()
    );
    assert!(parse(&"a".repeat(MAX_LENGTH)).is_ok());
    assert!(parse(&"é".repeat(MAX_LENGTH)).is_err());
}

#[test]
fn ambiguous_lists_do_not_take_exponential_time() {
    let text = "a:in(_time:[1h, 2h) ".repeat(60);
    assert!(parse(&text).is_err());
}
