//! Names of functions, from the symbols in this program's own file. Those of libraries, and of functions that were inlined, are
//! not looked for.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;

use object::{Object, ObjectSegment, ObjectSymbol, ReadCache, ReadRef, SymbolKind};

use crate::mappings::Mapping;

/// A function's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// For people: `tiphys_engine::run::Run::plan`.
    pub name: String,
    /// As the linker has it.
    pub system_name: String,
}

/// What the program's file says.
#[derive(Debug, Default)]
pub struct Symbols {
    /// By address.
    pub names: HashMap<u64, Names>,
    /// In hexadecimal digits; empty where there is none.
    pub build_id: String,
    /// Why there are no names, if so.
    pub problem: Option<String>,
}

/// Names for all addresses of the stacks that are in the program itself.
pub fn read(mappings: &[Mapping], stacks: &HashMap<Vec<u64>, u64>) -> Symbols {
    // The link leads to the file even where its path has another one by now.
    let file = File::open("/proc/self/exe").map_err(|error| error.to_string());
    let symbols = file.and_then(|file| read_file(&ReadCache::new(file), mappings, stacks.keys().flatten().copied()));
    symbols.unwrap_or_else(|error| Symbols {
        problem: Some(format!("functions have no names: {error}")),
        ..Symbols::default()
    })
}

fn read_file<'a, R: ReadRef<'a>>(
    data: R,
    mappings: &[Mapping],
    addresses: impl Iterator<Item = u64>,
) -> Result<Symbols, String> {
    let file = object::File::parse(data).map_err(|error| error.to_string())?;
    let wanted: BTreeMap<u64, u64> =
        addresses.filter_map(|address| Some((in_file(&file, mappings, address)?, address))).collect();
    let mut symbols =
        Symbols { problem: Some("functions have no names: the program was stripped".into()), ..Symbols::default() };
    let id = file.build_id().ok().flatten().unwrap_or_default();
    symbols.build_id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        symbols.problem = None;
        for (_, address) in wanted.range(symbol.address()..symbol.address().saturating_add(symbol.size())) {
            if let Ok(system_name) = symbol.name() {
                symbols.names.entry(*address).or_insert_with(|| names(system_name));
            }
        }
    }
    Ok(symbols)
}

/// An address as the file has it, where the program was loaded somewhere else.
fn in_file<'a, R: ReadRef<'a>>(file: &object::File<'a, R>, mappings: &[Mapping], address: u64) -> Option<u64> {
    let mapping = mappings.iter().find(|mapping| mapping.is_program && mapping.holds(address))?;
    let offset = address - mapping.start + mapping.offset;
    file.segments().find_map(|segment| {
        let (start, size) = segment.file_range();
        (start..start.saturating_add(size)).contains(&offset).then(|| offset - start + segment.address())
    })
}

fn names(system_name: &str) -> Names {
    // Without the hash that old names end with.
    let name = format!("{:#}", rustc_demangle::demangle(system_name));
    Names { name, system_name: system_name.to_owned() }
}
