//! "Did you mean …".

use crate::error::SyntaxError;

/// The one of `candidates` that is nearest to `word`, if any is near.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    if length < 2 {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `error`, with the one of `candidates` that is nearest to `word` as a hint; with all of them where none is near.
pub(super) fn did_you_mean<const N: usize>(
    error: SyntaxError,
    word: &str,
    candidates: [&str; N],
) -> SyntaxError {
    match nearest(word, candidates) {
        Some(candidate) => error.with_hint(format!("did you mean `{candidate}`?")),
        None => error.with_hint(format!("there are: {}", candidates.join(", "))),
    }
}
