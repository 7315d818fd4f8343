//! Manifests from files, folders, addresses and standard input, with every mistake in them shown.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use tiphys_api::diagnostic::{Diagnostic, Severity};
use tiphys_api::document::{self, Document};
use tiphys_local::documents::{Documents, Taken};

use crate::args::Manifests;
use crate::download;
use crate::failure::Failure;

/// Everything that was read.
pub struct Input {
    /// The documents of the files named first: what is run or looked at.
    pub own: Vec<Document>,
    /// Those of `--with`: what can be referred to.
    pub with: Vec<Document>,
}

impl Input {
    /// All documents.
    pub fn all(&self) -> impl Iterator<Item = &Document> {
        self.own.iter().chain(&self.with)
    }

    /// What can be referred to by name.
    ///
    /// # Errors
    /// Two documents with one name, or one without.
    pub fn documents(&self) -> Result<Documents, Failure> {
        let mut documents = Documents::default();
        let mut mistakes = Vec::new();
        for document in self.all() {
            match documents.add(&document.object) {
                Ok(Taken::Yes | Taken::No) => {}
                Err(error) => mistakes.push(document.diagnostic(Severity::Error, "metadata.name", error.to_string())),
            }
        }
        if mistakes.is_empty() { Ok(documents) } else { Err(show(mistakes)) }
    }
}

/// Reads all manifests.
///
/// # Errors
/// A file cannot be read (bad usage), or holds mistakes, which have been shown (invalid).
pub fn read(manifests: &Manifests) -> Result<Input, Failure> {
    let mut mistakes = Vec::new();
    let mut own = Vec::new();
    for file in &manifests.files {
        match file.as_str() {
            "-" => {
                let mut text = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut text)
                    .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
                parse("standard input", &text, &mut own, &mut mistakes);
            }
            url if download::is_address(url) => {
                let text = download::get(url)?;
                // What is behind the question mark may be a credential.
                parse(url.split('?').next().unwrap_or(url), &text, &mut own, &mut mistakes);
            }
            path => read_path(Path::new(path), &mut own, &mut mistakes)?,
        }
    }
    let mut with = Vec::new();
    for path in &manifests.with {
        read_path(path, &mut with, &mut mistakes)?;
    }
    if mistakes.is_empty() { Ok(Input { own, with }) } else { Err(show(mistakes)) }
}

/// Prints mistakes; the failure that they are.
pub fn show(mistakes: Vec<Diagnostic>) -> Failure {
    for mistake in mistakes {
        eprintln!("{mistake}");
    }
    Failure::invalid(None)
}

fn read_path(path: &Path, into: &mut Vec<Document>, mistakes: &mut Vec<Diagnostic>) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    if !path.is_dir() {
        let text = fs::read(path).map_err(|error| failed(path, error))?;
        parse(&path.display().to_string(), &text, into, mistakes);
        return Ok(());
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(|error| failed(path, error))?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let is_manifest = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if path.is_dir() || is_manifest {
            read_path(&path, into, mistakes)?;
        }
    }
    Ok(())
}

fn parse(name: &str, text: &[u8], into: &mut Vec<Document>, mistakes: &mut Vec<Diagnostic>) {
    let Ok(text) = std::str::from_utf8(text) else {
        mistakes.push(Diagnostic::error(name, "this is no text in UTF-8, so no manifest"));
        return;
    };
    match document::parse(name, text) {
        Ok(documents) => into.extend(documents),
        Err(found) => mistakes.extend(found),
    }
}
