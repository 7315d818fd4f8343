//! What is loaded where: the parts of memory from which instructions are carried out.

use std::collections::HashMap;
use std::{fs, io};

/// A part of memory with instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The first address behind it.
    pub limit: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file, or what the kernel calls it.
    pub path: String,
    /// The file is this program's own.
    pub is_program: bool,
}

impl Mapping {
    /// Whether an address is in it.
    pub fn holds(&self, address: u64) -> bool {
        (self.start..self.limit).contains(&address)
    }
}

/// This process's.
pub fn own() -> io::Result<Vec<Mapping>> {
    let program = fs::read_link("/proc/self/exe")?;
    Ok(parse(&fs::read_to_string("/proc/self/maps")?, &program.to_string_lossy()))
}

/// linux: fs/proc/task_mmu.c, show_map_vma
fn parse(maps: &str, program: &str) -> Vec<Mapping> {
    maps.lines().filter_map(|line| mapping(line, program)).collect()
}

fn mapping(line: &str, program: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, limit) = fields.next()?.split_once('-')?;
    fields.next().filter(|rights| rights.contains('x'))?;
    let offset = fields.next()?;
    let path = fields.nth(2).unwrap_or_default().trim_start().to_owned();
    let number = |text| u64::from_str_radix(text, 16).ok();
    let is_program = path == program;
    Some(Mapping { start: number(start)?, limit: number(limit)?, offset: number(offset)?, path, is_program })
}

/// Stacks without what cannot be an address of an instruction, and all that seemed to call it: a function without frame
/// pointers leaves other things in the register.
pub fn within(stacks: HashMap<Vec<u64>, u64>, mappings: &[Mapping]) -> HashMap<Vec<u64>, u64> {
    let mut kept = HashMap::new();
    for (mut stack, count) in stacks {
        let good = stack.iter().take_while(|address| mappings.iter().any(|mapping| mapping.holds(**address))).count();
        stack.truncate(good);
        *kept.entry(stack).or_default() += count;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
00400000-00452000 r--p 00000000 08:02 173521      /bin/own program
00452000-00552000 r-xp 00052000 08:02 173521      /bin/own program
00e03000-00e24000 rw-p 00000000 00:00 0           [heap]
7f0000000000-7f0000001000 r-xp 00000000 00:00 0 
7fff2a7ff000-7fff2a801000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn only_instructions_count() {
        let mappings = parse(MAPS, "/bin/own program");
        let found: Vec<_> = mappings.iter().map(|found| (found.start, found.path.as_str(), found.is_program)).collect();
        let vdso = (0x7fff_2a7f_f000, "[vdso]", false);
        assert_eq!(found, [(0x45_2000, "/bin/own program", true), (0x7f00_0000_0000, "", false), vdso]);
        assert_eq!((mappings[0].limit, mappings[0].offset), (0x55_2000, 0x5_2000));
    }

    #[test]
    fn a_stack_ends_where_no_instruction_can_be() {
        let mappings = parse(MAPS, "");
        let stacks = HashMap::from([
            (vec![0x45_2000, 0x45_2001], 1),
            (vec![0x45_2000, 0xe0_3000, 0x45_2001], 2),
            (vec![0x45_2000], 4),
        ]);
        let expected = HashMap::from([(vec![0x45_2000, 0x45_2001], 1), (vec![0x45_2000], 6)]);
        assert_eq!(within(stacks, &mappings), expected);
    }
}
