//! What attributes say of an item.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Expr, Item, Meta};

/// The attributes of the items that can hold code or names.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is open; what it may gain holds no code of ours"
)]
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[test]`, `#[tokio::test]` or `#[cfg(test)]`.
pub(super) fn is_test(attribute: &Attribute) -> bool {
    if let Meta::List(list) = &attribute.meta {
        return list.path.is_ident("cfg") && list.tokens.to_string() == "test"
            || list.path.segments.last().is_some_and(|last| last.ident == "test");
    }
    attribute.path().segments.last().is_some_and(|last| last.ident == "test")
}

/// `#[ignore]`, also in `cfg_attr`, or a fence of documentation that is not compiled.
pub(super) fn is_ignored(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::Path(path) => path.is_ident("ignore"),
        Meta::List(list) if list.path.is_ident("cfg_attr") => tokens_hold(list.tokens.clone(), "ignore"),
        Meta::List(_) => false,
        Meta::NameValue(value) => {
            let is_fence = |text: &str| text.trim_start().starts_with("```") && text.contains("ignore");
            value.path.is_ident("ignore")
                || matches!(&value.value, Expr::Lit(literal)
                    if matches!(&literal.lit, syn::Lit::Str(text) if is_fence(&text.value())))
        }
    }
}

fn tokens_hold(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|tree| matches!(tree, TokenTree::Ident(ident) if ident == word))
}
