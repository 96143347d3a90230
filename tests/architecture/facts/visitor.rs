//! Walks over a parsed file.

use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Expr, Item, Meta, Token, UseTree};

use super::attributes::{attributes, is_ignored, is_test};
use super::tokens::{self, Found};
use super::{Comparison, Facts, Name, Place, Word};

const COMPARING_METHODS: [&str; 14] = [
    "clamp",
    "cmp",
    "contains",
    "ends_with",
    "eq",
    "ge",
    "gt",
    "le",
    "lt",
    "max",
    "min",
    "ne",
    "partial_cmp",
    "starts_with",
];

/// Collects the facts of one file.
pub(super) struct Reader {
    path: String,
    /// The module that is read, from the crate down.
    module: Vec<String>,
    functions: Vec<String>,
    tests: usize,
    facts: Facts,
}

impl Reader {
    pub(super) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            module: module_of(path),
            functions: Vec::new(),
            tests: 0,
            facts: Facts::default(),
        }
    }

    pub(super) fn read(mut self, file: &syn::File) -> Facts {
        self.visit_file(file);
        self.facts
    }

    fn place(&self, line: usize) -> Place {
        Place { line, is_test: self.tests > 0 }
    }

    fn word(&self, text: String, line: usize) -> Word {
        Word { text, place: self.place(line) }
    }

    fn name(&mut self, segments: &[String], line: usize) {
        let segments = resolve(&self.module, segments);
        self.facts.names.push(Name { segments, place: self.place(line) });
    }

    fn scan(&mut self, tokens: proc_macro2::TokenStream) {
        for found in tokens::scan(tokens) {
            match found {
                Found::Path(segments, line) => self.name(&segments, line),
                Found::Macro(name, line) => self.facts.macros.push(self.word(name, line)),
                Found::Text(text, line) => self.facts.texts.push(self.word(text, line)),
                Found::Async(line) => self.facts.asyncs.push(self.place(line)),
                Found::Ignore(line) => self.facts.ignores.push(self.place(line)),
            }
        }
    }

    fn compare(&mut self, sides: &[&Expr], line: usize) {
        let mut words = Words(Vec::new());
        for side in sides {
            words.visit_expr(side);
        }
        let function = self.functions.last().cloned().unwrap_or_default();
        self.facts.comparisons.push(Comparison { words: words.0, function, place: self.place(line) });
    }

    fn imports(&mut self, tree: &UseTree, prefix: &[String]) {
        let line = tree.span().start().line;
        let with = |last: String| [prefix, &[last]].concat();
        match tree {
            UseTree::Path(path) => self.imports(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.imports(item, prefix)),
            UseTree::Name(name) if name.ident == "self" => self.name(prefix, line),
            UseTree::Name(name) => self.name(&with(name.ident.to_string()), line),
            UseTree::Rename(rename) => self.name(&with(rename.ident.to_string()), line),
            UseTree::Glob(_) => self.name(&with("*".to_owned()), line),
        }
    }

    /// The file of a module that is declared here without a body.
    fn file_of(&self, module: &syn::ItemMod) -> String {
        let named = module.attrs.iter().find(|attribute| attribute.path().is_ident("path"));
        if let Some(Meta::NameValue(value)) = named.map(|attribute| &attribute.meta)
            && let Expr::Lit(literal) = &value.value
            && let syn::Lit::Str(file) = &literal.lit
        {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            return format!("{folder}/{}", file.value());
        }
        let own = self.path.trim_end_matches(".rs");
        let folder = own.strip_suffix("/lib").or_else(|| own.strip_suffix("/main")).unwrap_or(own);
        format!("{folder}/{}.rs", module.ident)
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let is_test = attributes(item).iter().any(is_test);
        self.tests += usize::from(is_test);
        visit::visit_item(self, item);
        self.tests -= usize::from(is_test);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let name = module.ident.to_string();
        self.facts.modules.push(self.word(name.clone(), module.span().start().line));
        if module.content.is_none() && self.tests > 0 {
            self.facts.test_files.push(self.file_of(module));
        }
        self.module.push(name);
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.imports(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.name(&[item.ident.to_string()], item.ident.span().start().line);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = &signature.asyncness {
            self.facts.asyncs.push(self.place(word.span.start().line));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.functions.push(function.sig.ident.to_string());
        visit::visit_item_fn(self, function);
        self.functions.pop();
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.functions.push(function.sig.ident.to_string());
        visit::visit_impl_item_fn(self, function);
        self.functions.pop();
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.facts.asyncs.push(self.place(block.span().start().line));
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, wait: &'ast syn::ExprAwait) {
        self.facts.asyncs.push(self.place(wait.span().start().line));
        visit::visit_expr_await(self, wait);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        if matches!(
            binary.op,
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
        ) {
            self.compare(&[&binary.left, &binary.right], binary.op.span().start().line);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if COMPARING_METHODS.iter().any(|method| call.method == method) {
            let sides: Vec<&Expr> = std::iter::once(call.receiver.as_ref()).chain(&call.args).collect();
            self.compare(&sides, call.method.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.name(&segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.facts.texts.push(self.word(text.value(), text.span().start().line));
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let line = call.path.span().start().line;
        if let Some(name) = call.path.segments.last() {
            self.facts.macros.push(self.word(name.ident.to_string(), line));
        }
        self.visit_path(&call.path);
        match call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            Ok(expressions) => expressions.iter().for_each(|inner| Visit::visit_expr(self, inner)),
            Err(_) => self.scan(call.tokens.clone()),
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let line = attribute.span().start().line;
        if is_ignored(attribute) {
            self.facts.ignores.push(self.place(line));
        }
        if attribute.path().is_ident("doc") {
            return;
        }
        self.visit_path(attribute.path());
        match &attribute.meta {
            Meta::List(list) => self.scan(list.tokens.clone()),
            Meta::NameValue(value) => Visit::visit_expr(self, &value.value),
            Meta::Path(_) => {}
        }
    }
}

/// Every identifier of an expression.
struct Words(Vec<String>);

impl Visit<'_> for Words {
    fn visit_ident(&mut self, ident: &proc_macro2::Ident) {
        self.0.push(ident.to_string());
    }
}

/// The modules from the crate down to this file.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside).trim_end_matches(".rs");
    let modules = inside.split('/').map(str::to_owned);
    if inside == "lib" || inside == "main" { Vec::new() } else { modules.collect() }
}

/// The path from the crate down, where it is written from here.
fn resolve(module: &[String], segments: &[String]) -> Vec<String> {
    let from_crate = |base: &[String], rest: &[String]| [&["crate".to_owned()], base, rest].concat();
    match segments.split_first() {
        Some((first, rest)) if first == "self" => from_crate(module, rest),
        Some((first, _)) if first == "super" => {
            let ups = segments.iter().take_while(|segment| *segment == "super").count();
            let base = module.get(..module.len().saturating_sub(ups)).unwrap_or_default();
            from_crate(base, segments.get(ups..).unwrap_or_default())
        }
        _ => segments.to_vec(),
    }
}
