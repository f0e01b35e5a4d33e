//! `stats` and `math`.

use crate::check;

#[test]
fn records_are_counted_and_grouped() {
    check(
        "* | stats count() logs, count_uniq(host) hosts",
        &[r#"{"logs":"5","hosts":"3"}"#],
    );
    check("* | count()", &[r#"{"count(*)":"5"}"#]);
    check(
        "* | stats by (level) count() logs, count(ip) ips, count_empty(ip, size) neither",
        &[
            r#"{"logs":"1","ips":"0","neither":"1"}"#,
            r#"{"level":"error","logs":"2","ips":"1","neither":"0"}"#,
            r#"{"level":"info","logs":"2","ips":"1","neither":"0"}"#,
        ],
    );
    check(
        "* | stats count() if (GET) gets, count() if (POST) posts",
        &[r#"{"gets":"2","posts":"0"}"#],
    );
    check("nothing | stats by (level) count() c", &[]);
    check(
        "nothing | stats count() c, sum(size) s, min(size) m, values(size) v, row_any() r",
        &[r#"{"c":"0","s":"NaN","v":"[]","r":"{}"}"#],
    );
}

#[test]
fn records_fall_into_buckets() {
    check(
        "* | stats by (_time:1d) count() c",
        &[
            r#"{"_time":"2026-11-20T00:00:00Z","c":"4"}"#,
            r#"{"_time":"2026-11-21T00:00:00Z","c":"1"}"#,
        ],
    );
    check(
        "* | stats by (_time:1d offset 9h) count() c",
        &[
            r#"{"_time":"2026-11-19T09:00:00Z","c":"1"}"#,
            r#"{"_time":"2026-11-20T09:00:00Z","c":"4"}"#,
        ],
    );
    check(
        "ip:* | stats by (ip:/24) count() c",
        &[
            r#"{"ip":"10.0.0.0","c":"1"}"#,
            r#"{"ip":"10.0.1.0","c":"1"}"#,
        ],
    );
    check(
        "took:* | stats by (took:1m) count() c | sort by (took)",
        &[r#"{"took":"0","c":"2"}"#, r#"{"took":"2m","c":"1"}"#],
    );
}

#[test]
fn functions_of_values() {
    check(
        "* | stats sum(size) s, avg(size) a, min(size) mi, max(took) ma, sum_len(ip) l",
        &[r#"{"s":"10752","a":"5376","mi":"512","ma":"2m","l":"16"}"#],
    );
    check(
        "* | stats quantile(0, took) q0, median(took) q5, quantile(1, took) q1, max(host) h",
        &[r#"{"q0":"12ms","q5":"1.5s","q1":"2m","h":"h10"}"#],
    );
    check(
        "* | stats uniq_values(host) u, uniq_values(host) limit 1 one, values(ip) v",
        &[
            r#"{"u":"[\"h1\",\"h2\",\"h10\"]","one":"[\"h1\"]","v":"[\"\",\"\",\"10.0.0.7\",\"10.0.1.1\",\"\"]"}"#,
        ],
    );
    check(
        "* | stats row_max(took, host, took) r, row_min(took, host) m, json_values(ip) limit 3 j",
        &[
            r#"{"r":"{\"host\":\"h2\",\"took\":\"2m\"}","m":"{\"host\":\"h1\"}","j":"[\"{}\",\"{}\",\"{\\\"ip\\\":\\\"10.0.0.7\\\"}\"]"}"#,
        ],
    );
    check(
        "size:512 | stats histogram(size) h",
        &[r#"{"h":"[{\"vmrange\":\"4.642e+02...5.275e+02\",\"hits\":1}]"}"#],
    );
}

#[test]
fn rates_are_per_second_of_what_is_asked() {
    check(
        "_time:[2026-11-20Z, 2026-11-20T01:00:00Z) | stats rate() r",
        &[r#"{"r":"0"}"#],
    );
    check(
        "_time:[2026-11-20T08:00Z, 2026-11-20T08:00:05Z) | stats rate() r, rate_sum(size) s",
        &[r#"{"r":"0.2","s":"2048"}"#],
    );
    check(
        "GET | stats by (_time:10s) rate() r | fields r",
        &[r#"{"r":"0.1"}"#, r#"{"r":"0.1"}"#],
    );
    check("* | stats rate() r", &[r#"{"r":"5"}"#]);
}

#[test]
fn numbers_are_computed() {
    check(
        "size:512 | math size * 2 + 1 as a, round(a / 100) as b, (a xor 1) as c | fields a, b, c",
        &[r#"{"a":"1025","b":"10","c":"1024"}"#],
    );
    check(
        "size:512 | math host + 1 as a, host default 7 as b, max(size, 3, host) as c, -size % 5 as d | fields a, b, c, d",
        &[r#"{"a":"NaN","b":"7","c":"512","d":"-2"}"#],
    );
    check(
        "404 | math round(took, 1m) / 1s as t, ip & 255 as i, now() - _time as age | fields t, i, age",
        &[r#"{"t":"120","i":"7","age":"5400000000000"}"#],
    );
}
