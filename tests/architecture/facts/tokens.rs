//! What can be told of tokens that are no expressions: the inside of many macros.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Something in a token stream, with its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A path of at least two segments.
    Path(Vec<String>, usize),
    Macro(String, usize),
    Text(String, usize),
    /// `async` or `await`.
    Async(usize),
    /// `#[ignore]`.
    Ignore(usize),
}

/// Finds in the order of the text.
pub(super) fn scan(tokens: TokenStream) -> Vec<Found> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let mut rest = trees.as_slice();
    while let Some((tree, after)) = rest.split_first() {
        rest = after;
        match tree {
            TokenTree::Group(group) => found.extend(scan(group.stream())),
            TokenTree::Literal(literal) => {
                if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) {
                    found.push(Found::Text(text.value(), literal.span().start().line));
                }
            }
            TokenTree::Ident(first) => {
                let line = first.span().start().line;
                let mut segments = vec![first.to_string()];
                while let Some((segment, after)) = next_segment(rest) {
                    segments.push(segment);
                    rest = after;
                }
                found.extend(words(segments, rest, line));
            }
            TokenTree::Punct(sign) => {
                let is_ignored = sign.as_char() == '#' && rest.first().is_some_and(begins_with_ignore);
                found.extend(is_ignored.then(|| Found::Ignore(sign.span().start().line)));
            }
        }
    }
    found
}

fn begins_with_ignore(tree: &TokenTree) -> bool {
    let TokenTree::Group(group) = tree else { return false };
    matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(first)) if first == "ignore")
}

/// `::name` at the front.
fn next_segment(rest: &[TokenTree]) -> Option<(String, &[TokenTree])> {
    let [TokenTree::Punct(one), TokenTree::Punct(two), TokenTree::Ident(name), after @ ..] = rest else {
        return None;
    };
    let joined = one.as_char() == ':' && one.spacing() == Spacing::Joint && two.as_char() == ':';
    joined.then(|| (name.to_string(), after))
}

fn words(segments: Vec<String>, rest: &[TokenTree], line: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let last = segments.last().cloned().unwrap_or_default();
    if let [TokenTree::Punct(bang), TokenTree::Group(group), ..] = rest
        && bang.as_char() == '!'
        && group.delimiter() != Delimiter::None
    {
        found.push(Found::Macro(last.clone(), line));
    }
    if last == "async" || last == "await" {
        found.push(Found::Async(line));
    }
    if segments.len() > 1 {
        found.push(Found::Path(segments, line));
    }
    found
}
