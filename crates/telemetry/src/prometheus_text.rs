//! Prometheus text, read back: the recorder gives its numbers in no other way.

use std::str::Chars;

/// Metrics of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family<'a> {
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    /// `counter`, `gauge`, `histogram`.
    pub(crate) kind: &'a str,
    pub(crate) samples: Vec<Sample<'a>>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    /// The family's name, or that and `_bucket`, `_sum`, `_count`.
    pub(crate) name: &'a str,
    pub(crate) labels: Vec<(&'a str, String)>,
    pub(crate) value: &'a str,
}

/// Takes text apart; what is not understood is left out.
pub(crate) fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut help = ("", "");
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').unwrap_or((described, ""));
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, ""));
            families.push(Family {
                name,
                help: if help.0 == name { help.1 } else { "" },
                kind,
                samples: Vec::new(),
            });
        } else if let (Some(family), Some(sample)) = (families.last_mut(), sample(line)) {
            family.samples.push(sample);
        }
    }
    families
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let (before, value) = line.rsplit_once(' ')?;
    let Some((name, labels)) = before.split_once('{') else {
        return Some(Sample {
            name: before,
            labels: Vec::new(),
            value,
        });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = Vec::new();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut characters = quoted.chars();
        labels.push((name, unescape(&mut characters)?));
        rest = characters.as_str().trim_start_matches(',');
    }
    Some(Sample {
        name,
        labels,
        value,
    })
}

/// The text up to the closing quotation mark, which is taken as well.
fn unescape(characters: &mut Chars<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => match characters.next()? {
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_hold_anything() {
        let text = "# HELP a What a is.\n# TYPE a counter\na{x=\"1,\\\"}\\\\ \\n\",y=\"é\"} 7\na 8\n\n# TYPE b gauge\nb 0.5\n";
        let families = families(text);
        assert_eq!(families.len(), 2);
        assert_eq!(families[0].help, "What a is.");
        let sample = &families[0].samples[0];
        assert_eq!(
            sample.labels,
            [("x", "1,\"}\\ \n".to_owned()), ("y", "é".to_owned())]
        );
        assert_eq!(sample.value, "7");
        assert_eq!(families[0].samples[1].labels, []);
        assert_eq!((families[1].kind, families[1].help), ("gauge", ""));
        assert_eq!(families[1].samples[0].value, "0.5");
    }
}
