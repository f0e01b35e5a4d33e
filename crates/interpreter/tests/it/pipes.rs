//! Pipes.

use crate::{check, found};

#[test]
fn fields_are_kept_renamed_and_deleted() {
    check(
        "404 | fields host, i*",
        &[r#"{"host":"h2","ip":"10.0.0.7"}"#],
    );
    check(
        "404 | keep host, ip | rename host as server, ip ip2 | copy server as host",
        &[r#"{"host":"h2","server":"h2","ip2":"10.0.0.7"}"#],
    );
    check(
        "404 | keep host, ip | rename * as x_*",
        &[r#"{"x_host":"h2","x_ip":"10.0.0.7"}"#],
    );
    check("404 | keep host, ip | delete h*", &[r#"{"ip":"10.0.0.7"}"#]);
    check(
        "404 | fields timestamp, message",
        &[r#"{"timestamp":"2026-11-20T10:30:00Z","message":"GET /users/42 404"}"#],
    );
    check(
        "404 | rename message as m | keep m, _msg",
        &[r#"{"m":"GET /users/42 404"}"#],
    );
    check(
        "* | keep list | drop_empty_fields",
        &[r#"{"list":"[\"a\",2]"}"#],
    );
    check(
        "404 | keep host, ip | pack_json as j | keep j",
        &[r#"{"j":"{\"host\":\"h2\",\"ip\":\"10.0.0.7\"}"}"#],
    );
    check(
        "404 | pack_logfmt fields (_msg, i*) as l | keep l",
        &[r#"{"l":"_msg=\"GET /users/42 404\" ip=10.0.0.7"}"#],
    );
}

#[test]
fn texts_are_changed() {
    check(
        "404 | collapse_nums | extract '/users/<id> ' | keep _msg, id",
        &[r#"{"_msg":"GET /users/<N> <N>","id":"<N>"}"#],
    );
    check(
        "404 | extract '/users/<id> <code>' | extract_regexp '(?P<verb>[A-Z]+)' | keep id, code, verb",
        &[r#"{"id":"42","code":"404","verb":"GET"}"#],
    );
    check(
        "user | extract 'user=<user>' | extract 'ip=<host> ' keep_original_fields | keep host, user",
        &[r#"{"host":"h1","user":"bob b"}"#],
    );
    check(
        "404 | extract 'nothing <host>' | keep host, ip",
        &[r#"{"ip":"10.0.0.7"}"#],
    );
    check(
        "404 | extract 'nothing <host>' skip_empty_results | keep host",
        &[r#"{"host":"h2"}"#],
    );
    check(
        "404 | extract if (ip:\"\") '<host> ' | keep host",
        &[r#"{"host":"h2"}"#],
    );
    check(
        "404 | format '<uc:host> took <duration_seconds:took>' as f | keep f",
        &[r#"{"f":"H2 took 120"}"#],
    );
    check(
        "404 | format '' as host | keep host, ip",
        &[r#"{"ip":"10.0.0.7"}"#],
    );
    check(
        "404 | format 'x' as host keep_original_fields | keep host",
        &[r#"{"host":"h2"}"#],
    );
    check(
        "404 | replace ('4', 'four') limit 1 | replace_regexp ('([A-Z])[A-Z]+', '$1') | keep _msg",
        &[r#"{"_msg":"G /users/four2 404"}"#],
    );
    check(
        "404 | len(_msg) as l | hash(nope) as h | json_array_len(list) as n | keep l, h, n",
        &[r#"{"l":"17","h":"1929880503118233","n":"0"}"#],
    );
}

#[test]
fn texts_are_taken_apart() {
    check(
        "404 | format '{\"a\":{\"b\":1},\"host\":\"\",\"n\":null}' as j | unpack_json from j | keep a.b, host, ip",
        &[r#"{"a.b":"1","ip":"10.0.0.7"}"#],
    );
    check(
        "404 | format '{\"a\":1,\"b\":2}' as j | unpack_json from j fields (a, host) result_prefix p_ | keep p_*",
        &[r#"{"p_a":"1"}"#],
    );
    check(
        "user | unpack_logfmt fields (ip, user, level) | keep ip, user",
        &[r#"{"ip":"1.2.3.4","user":"bob b"}"#],
    );
    check(
        "404 | format '&lt;165&gt;Nov  3 12:08:33 abcd app[3]: hi' as s | unpack_syslog from s result_prefix s_ | keep s_timestamp, s_level, s_proc_id, s_message",
        &[
            r#"{"s_timestamp":"2026-11-03T12:08:33Z","s_level":"notice","s_proc_id":"3","s_message":"hi"}"#,
        ],
    );
    check(
        "404 | unpack_words as w | json_array_len(w) as n | keep w, n",
        &[r#"{"w":"[\"GET\",\"users\",\"42\",\"404\"]","n":"4"}"#],
    );
    check(
        "404 or user | unroll by (list, ip) | keep host, list, ip",
        &[
            r#"{"host":"h2"}"#,
            r#"{"host":"h1","list":"a"}"#,
            r#"{"host":"h1","list":"2"}"#,
        ],
    );
    check(
        "404 | unroll if (ip:\"\") by (ip) | keep ip",
        &[r#"{"ip":"10.0.0.7"}"#],
    );
}

#[test]
fn records_are_sorted_and_cut() {
    assert_eq!(
        found("* | sort by (host desc, _time) | limit 2"),
        ["0T11", "0T10"]
    );
    assert_eq!(
        found("* | sort by (host, _time) desc offset 1 limit 2"),
        ["0T10", "1T08"]
    );
    assert_eq!(found("* | first 2 by (took)"), ["0T11", "1T08"]);
    assert_eq!(found("took:* | last 1 by (took)"), ["0T10"]);
    assert_eq!(
        found("* | sort by (_time) partition by (host) limit 1"),
        ["0T08", "0T11", "0T10"]
    );
    assert_eq!(found("* | sort by (_time) | offset 3"), ["0T11", "1T08"]);
    check(
        "GET | sort by (_time desc) rank as r | keep r, host",
        &[r#"{"r":"1","host":"h2"}"#, r#"{"r":"2","host":"h1"}"#],
    );
}

#[test]
fn values_are_counted() {
    check(
        "* | top 2 by (host) rank",
        &[
            r#"{"host":"h1","hits":"3","rank":"1"}"#,
            r#"{"host":"h2","hits":"1","rank":"2"}"#,
        ],
    );
    check(
        "* | uniq by (level) with hits",
        &[
            r#"{"hits":"1"}"#,
            r#"{"level":"error","hits":"2"}"#,
            r#"{"level":"info","hits":"2"}"#,
        ],
    );
    check(
        "GET | field_values level",
        &[r#"{"level":"info","hits":"2"}"#],
    );
    check(
        "404 | keep host, ip | field_names",
        &[
            r#"{"name":"host","hits":"1"}"#,
            r#"{"name":"ip","hits":"1"}"#,
        ],
    );
    check(
        "* | keep host, level | facets 1",
        &[
            r#"{"field_name":"host","field_value":"h1","hits":"3"}"#,
            r#"{"field_name":"level","field_value":"error","hits":"2"}"#,
        ],
    );
    check("GET | keep level | facets", &[]);
    check(
        "GET | keep level | facets keep_const_fields",
        &[r#"{"field_name":"level","field_value":"info","hits":"2"}"#],
    );
}

#[test]
fn queries_are_joined() {
    check(
        "GET | stats by (host) count() gets | join by (host) (error | stats by (host) count() errors)",
        &[
            r#"{"host":"h1","gets":"1","errors":"1"}"#,
            r#"{"host":"h2","gets":"1"}"#,
        ],
    );
    check(
        "GET | stats by (host) count() n | join by (host) (i(error) | stats by (host) count() n) inner prefix e.",
        &[r#"{"host":"h1","n":"1","e.n":"1"}"#],
    );
    check(
        "404 | keep host, level | join by (host) (404 | fields host, level, ip | format x as level)",
        &[r#"{"host":"h2","level":"info","ip":"10.0.0.7"}"#],
    );
    assert_eq!(found("404 | union (user)"), ["0T10", "1T08"]);
}
