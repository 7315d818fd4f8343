//! Manifests from files, folders, addresses and standard input, with every mistake in them shown.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tiphys_api::diagnostic::{Diagnostic, Severity};
use tiphys_api::document::{self, Document};
use tiphys_api::yaml;
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
    read_all(&manifests.files, &mut |name, text| parse(name, text, &mut own, &mut mistakes))?;
    let mut with = Vec::new();
    for path in &manifests.with {
        read_path(path, &mut |name, text| parse(name, text, &mut with, &mut mistakes))?;
    }
    if mistakes.is_empty() { Ok(Input { own, with }) } else { Err(show(mistakes)) }
}

/// Reads every document of files as it is written, whatever it is.
///
/// # Errors
/// As [`read`].
pub fn values(files: &[String]) -> Result<Vec<Value>, Failure> {
    let mut mistakes = Vec::new();
    let mut values = Vec::new();
    read_all(files, &mut |name, text| {
        let trees = std::str::from_utf8(text).map_err(|error| error.to_string());
        match trees.and_then(|text| yaml::parse(text).map_err(|error| error.to_string())) {
            Ok(trees) => values.extend(trees.iter().map(|tree| tree.root.to_value())),
            Err(error) => mistakes.push(Diagnostic::error(name, error)),
        }
    })?;
    if mistakes.is_empty() { Ok(values) } else { Err(show(mistakes)) }
}

/// Shows the text of every file that is named, with the name that messages have for it.
fn read_all(files: &[String], see: &mut dyn FnMut(&str, &[u8])) -> Result<(), Failure> {
    for file in files {
        match file.as_str() {
            "-" => {
                let mut text = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut text)
                    .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
                see("standard input", &text);
            }
            url if download::is_address(url) => {
                let text = download::get(url)?;
                // What is behind the question mark may be a credential.
                see(url.split('?').next().unwrap_or(url), &text);
            }
            path => read_path(Path::new(path), see)?,
        }
    }
    Ok(())
}

/// Prints mistakes; the failure that they are.
pub fn show(mistakes: Vec<Diagnostic>) -> Failure {
    for mistake in mistakes {
        eprintln!("{mistake}");
    }
    Failure::invalid(None)
}

fn read_path(path: &Path, see: &mut dyn FnMut(&str, &[u8])) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    if !path.is_dir() {
        let text = fs::read(path).map_err(|error| failed(path, error))?;
        see(&path.display().to_string(), &text);
        return Ok(());
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(|error| failed(path, error))?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let is_manifest = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if path.is_dir() || is_manifest {
            read_path(&path, see)?;
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
