//! How the user's containers ended, as far as they did not succeed.

use tiphys_artifact::Opened;
use tiphys_contract::path::ctr;
use tiphys_contract::{Cause, Ended, exit};

use crate::emissary::exit_code_of;
use crate::paths::Paths;

/// The containers that failed, with the cause that their emissaries noted.
pub fn of(paths: &Paths, containers: &[&str], past_deadline: bool) -> Vec<Ended> {
    let failed = |name: &&str| exit_code_of(paths, name).filter(|code| *code != 0).map(|code| (name.to_string(), code));
    containers.iter().filter_map(failed).map(|(name, code)| ended(paths, name, code, past_deadline)).collect()
}

fn ended(paths: &Paths, name: String, exit_code: i32, past_deadline: bool) -> Ended {
    let noted = Opened::beneath(&paths.shared, &paths.ctr(&name).join(ctr::ENDED));
    let noted = noted.ok().and_then(|opened| opened.bytes().ok());
    let noted = noted.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // Who was killed together with its emissary could not note it.
    let unknown = if exit_code == exit::KILLED { "killed" } else { "exit" };
    let (word, last_lines) = noted.as_deref().map_or((unknown, ""), |text| text.split_once('\n').unwrap_or((text, "")));
    let cause = match word {
        "oom" => Cause::OutOfMemory,
        _ if past_deadline => Cause::Deadline,
        "signal" => Cause::Signal,
        "killed" => Cause::Killed,
        _ => Cause::Exit,
    };
    Ended { name, exit_code, cause, last_lines: last_lines.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn causes_are_what_emissaries_noted() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        for (name, code, noted) in [
            ("fine", "0", None),
            ("exits", "3", Some("exit\nno such file\n")),
            ("grows", "137", Some("oom\n")),
            ("gone", "137", None),
            ("told", "143", Some("signal\n")),
        ] {
            fs::create_dir_all(paths.ctr(name)).unwrap();
            fs::write(paths.ctr(name).join(ctr::EXIT_CODE), code).unwrap();
            if let Some(text) = noted {
                fs::write(paths.ctr(name).join(ctr::ENDED), text).unwrap();
            }
        }
        let of = |late| of(&paths, &["fine", "exits", "grows", "gone", "told", "never"], late);
        let causes: Vec<_> = of(false).into_iter().map(|ended| (ended.name, ended.cause)).collect();
        let expected =
            [("exits", Cause::Exit), ("grows", Cause::OutOfMemory), ("gone", Cause::Killed), ("told", Cause::Signal)];
        assert_eq!(causes, expected.map(|(name, cause)| (name.to_owned(), cause)));
        assert_eq!(of(false)[0].last_lines, "no such file\n");
        assert_eq!(of(true)[3].cause, Cause::Deadline);
    }
}
