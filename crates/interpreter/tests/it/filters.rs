//! Filters.

use crate::{found, run};

const FIRST: &str = "0T08";
const SECOND: &str = "0T09";
const THIRD: &str = "0T10";
const FOURTH: &str = "0T11";
const LAST: &str = "1T08";

#[test]
fn filters_find_records() {
    let all = [FIRST, SECOND, THIRD, FOURTH, LAST];
    for (query, expected) in [
        ("*", &all[..]),
        ("error", &[FIRST]),
        ("i(error)", &[FIRST, FOURTH]),
        ("err*", &[FIRST, FOURTH]),
        ("\"open file\"", &[FIRST]),
        ("users", &[SECOND, THIRD]),
        ("GET 200", &[SECOND]),
        ("GET -200", &[THIRD]),
        ("404 or 200", &[SECOND, THIRD]),
        ("!(404 or 200) GET", &[]),
        ("level:error", &[FIRST, FOURTH]),
        ("level:=err", &[]),
        ("level:=err*", &[FIRST, FOURTH]),
        ("level:in(error, info) host:in(h2, h10)", &[THIRD, FOURTH]),
        ("level:\"\"", &[LAST]),
        ("ip:*", &[THIRD, FOURTH]),
        ("~\"use.s/[0-9]+\"", &[THIRD]),
        ("took:>1s", &[FIRST, THIRD]),
        ("size:<=512", &[SECOND]),
        ("size:range[512, 10KiB]", &[FIRST, SECOND]),
        ("size:range(512, 10KiB)", &[]),
        ("host:>h2", &[]),
        ("host:>=h2", &[THIRD]),
        ("ip:ipv4_range(\"10.0.0.0/24\")", &[THIRD]),
        ("host:string_range(h1, h2)", &[FIRST, SECOND, FOURTH, LAST]),
        ("len_range(14, 14)", &[SECOND]),
        ("seq(cannot, file)", &[FIRST]),
        ("seq(file, cannot)", &[]),
        ("contains_all(GET, 42)", &[THIRD]),
        ("contains_any(42, cannot)", &[FIRST, THIRD]),
        ("size:value_type(uint64)", &[SECOND]),
        ("level:eq_field(level) ip:*", &[THIRD, FOURTH]),
        ("size:lt_field(took) size:*", &[FIRST, SECOND]),
        ("ip:le_field(ip)", &all),
    ] {
        assert_eq!(found(query), expected, "{query}");
    }
}

#[test]
fn filters_find_times() {
    for (query, expected) in [
        ("_time:1h", &[FOURTH][..]),
        ("_time:3h", &[THIRD, FOURTH]),
        ("_time:1h offset 1h", &[THIRD]),
        ("_time:2026-11-21Z", &[LAST]),
        ("_time:2026-11Z", &[FIRST, SECOND, THIRD, FOURTH, LAST]),
        ("_time:[2026-11-20T09:00Z, 2026-11-20T10:30Z)", &[SECOND]),
        (
            "_time:[2026-11-20T09:00Z, 2026-11-20T10:30Z]",
            &[SECOND, THIRD],
        ),
        ("_time:>=2026-11-20T11:45Z", &[FOURTH, LAST]),
        ("_time:<2026-11-20T09:00Z", &[FIRST]),
        ("_time:day_range[08:00, 09:00]", &[FIRST, SECOND, LAST]),
        ("_time:day_range(08:00, 09:00)", &[]),
        ("_time:day_range[08:00, 09:00) offset -1h", &[SECOND]),
        (
            "_time:week_range[Mon, Fri]",
            &[FIRST, SECOND, THIRD, FOURTH],
        ),
        ("_time:week_range(Fri, Sat]", &[LAST]),
        (
            "_time:week_range[Sat, Sat] offset 16h",
            &[FIRST, SECOND, THIRD, FOURTH],
        ),
    ] {
        let found = found(query);
        assert_eq!(found, expected, "{query}");
    }
}

#[test]
fn filters_find_streams() {
    for (query, expected) in [
        ("{service=\"api\"}", &[FIRST, SECOND, LAST][..]),
        ("{service!=\"api\"}", &[THIRD, FOURTH]),
        ("_stream:{host=~\"h1.*\", service=\"\"}", &[FOURTH]),
        ("{host in (h2, h10)}", &[THIRD, FOURTH]),
        ("{host not_in (h2, h10)} _time:1d", &[FIRST, SECOND]),
        ("_stream_id:in(404 | fields _stream_id)", &[THIRD]),
    ] {
        assert_eq!(found(query), expected, "{query}");
    }
}

#[test]
fn subqueries_give_values() {
    assert_eq!(
        found("host:in(level:error | fields host) level:info"),
        [SECOND]
    );
    assert_eq!(found("_msg:contains_any(ip:* | uniq by (level))"), [FIRST]);
    assert_eq!(
        found("host:in(options(ignore_global_time_filter=true) 404 | keep host)"),
        [THIRD]
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    for query in ["* | blocks_count", "a:value_type(dict)", "* | sample 10"] {
        let error = run(query).unwrap_err().to_string();
        assert!(error.starts_with("not supported: "), "{query}: {error}");
    }
}
