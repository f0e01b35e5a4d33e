//! Tokens: what a "word" is, for text search and for the token index alike.
//!
//! A token is a maximal run of letters, digits and `_` (Unicode `is_alphanumeric`), compared in lower case.
