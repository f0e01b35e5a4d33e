//! Queries.

/// Any text is parsed or refused; what is parsed prints as text that parses to the same tree.
pub fn logsql(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(query) = logmill_lang::parse(&text) else {
        return;
    };
    let printed = query.to_string();
    match logmill_lang::parse(&printed) {
        Ok(again) => assert_eq!(query, again, "{text:?} printed as {printed:?}"),
        // What is printed is longer than what was read: quotes, defaults and lists of fields are written out.
        Err(_) if printed.len() > logmill_lang::MAX_LENGTH => {}
        Err(error) => panic!("{text:?} printed as {printed:?}: {error}"),
    }
}
