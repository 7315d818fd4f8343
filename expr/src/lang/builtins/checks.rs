//! How calls of builtins are checked before they run.

use crate::lang::types::{Nature, Sig, Ty};
use crate::value::{Elem, MapKind};

/// The check of a builtin.
pub(in crate::lang) enum Check {
    /// One of these signatures must fit.
    Types(&'static [Sig]),
    /// A check of its own.
    Validate(fn(&[Nature]) -> Result<Nature, String>),
}

const fn sig(params: &'static [Ty], out: Ty) -> Sig {
    Sig::new(params, out)
}

use Ty::{Any, Anys, Bool, Duration, Floats, Int, Ints, Location, Str, Strs};

/// The check of a builtin without closure.
pub(in crate::lang) fn check_of(name: &str) -> Check {
    match name {
        "len" => Check::Validate(len),
        "abs" => Check::Validate(abs),
        "ceil" => Check::Validate(|a| rounding("ceil", a)),
        "floor" => Check::Validate(|a| rounding("floor", a)),
        "round" => Check::Validate(|a| rounding("round", a)),
        "int" => Check::Validate(|a| number("int", a, Nature::Int)),
        "float" => Check::Validate(|a| number("float", a, Nature::Float)),
        "max" => Check::Validate(|a| aggregate("max", a)),
        "min" => Check::Validate(|a| aggregate("min", a)),
        "mean" => Check::Validate(|a| aggregate("mean", a)),
        "median" => Check::Validate(|a| aggregate("median", a)),
        "now" => Check::Validate(now),
        "date" => Check::Validate(date),
        "first" => Check::Validate(|a| end("first", a)),
        "last" => Check::Validate(|a| end("last", a)),
        "take" => Check::Validate(take),
        "keys" => Check::Validate(|a| of_map("cannot get keys from", a)),
        "values" => Check::Validate(|a| of_map("cannot get values from", a)),
        "toPairs" => Check::Validate(|a| match of_map("cannot transform", a) {
            Err(message) if message.starts_with("cannot") => Err(format!("{message} to pairs")),
            other => other,
        }),
        "fromPairs" => Check::Validate(|a| {
            one(a)?;
            if list(&a[0]) {
                Ok(Nature::Map(MapKind::AnyAny))
            } else {
                refused("cannot transform", &a[0], " from pairs")
            }
        }),
        "reverse" => Check::Validate(|a| of_list("cannot reverse", a)),
        "uniq" => Check::Validate(|a| of_list("cannot uniq", a)),
        "flatten" => Check::Validate(|a| of_list("cannot flatten", a)),
        "concat" => Check::Validate(concat),
        _ => Check::Types(types_of(name)),
    }
}

fn types_of(name: &str) -> &'static [Sig] {
    match name {
        "type" => const { &[sig(&[Any], Str)] },
        "string" => const { &[sig(&[Any], Str)] },
        "trim" => const { &[sig(&[Str], Str), sig(&[Str, Str], Str)] },
        "trimPrefix" | "trimSuffix" => const { &[sig(&[Str, Str], Str), sig(&[Str], Str)] },
        "upper" | "lower" | "toBase64" | "fromBase64" => const { &[sig(&[Str], Str)] },
        "split" | "splitAfter" => const { &[sig(&[Str, Str], Strs), sig(&[Str, Str, Int], Strs)] },
        "replace" => const { &[sig(&[Str, Str, Str, Int], Str), sig(&[Str, Str, Str], Str)] },
        "repeat" => const { &[sig(&[Str, Int], Str)] },
        "join" => {
            const {
                &[
                    sig(&[Strs, Str], Str),
                    sig(&[Anys, Str], Str),
                    sig(&[Anys], Str),
                    sig(&[Strs, Str], Str),
                    sig(&[Strs], Str),
                ]
            }
        }
        "indexOf" | "lastIndexOf" => const { &[sig(&[Str, Str], Int)] },
        "hasPrefix" | "hasSuffix" => const { &[sig(&[Str, Str], Bool)] },
        "toJSON" => const { &[sig(&[Any], Str)] },
        "fromJSON" => const { &[sig(&[Str], Any)] },
        "duration" => const { &[sig(&[Str], Duration)] },
        "timezone" => const { &[sig(&[Str], Location)] },
        "sort" => {
            const {
                &[
                    sig(&[Anys, Str], Anys),
                    sig(&[Ints, Str], Anys),
                    sig(&[Floats, Str], Anys),
                    sig(&[Strs, Str], Anys),
                    sig(&[Anys], Anys),
                    sig(&[Floats], Anys),
                    sig(&[Strs], Anys),
                    sig(&[Ints], Anys),
                ]
            }
        }
        "bitnot" => const { &[sig(&[Int], Int)] },
        _ => const { &[sig(&[Int, Int], Int)] },
    }
}

fn wrong_count<T>(expected: &str, got: usize) -> Result<T, String> {
    Err(format!("invalid number of arguments (expected {expected}, got {got})"))
}

fn one(args: &[Nature]) -> Result<(), String> {
    if args.len() == 1 { Ok(()) } else { wrong_count("1", args.len()) }
}

fn refused<T>(what: &str, nature: &Nature, tail: &str) -> Result<T, String> {
    Err(format!("{what} {}{tail}", nature.arg_type()))
}

fn list(nature: &Nature) -> bool {
    nature.is_unknown() || nature.is_array()
}

fn anys() -> Nature {
    Nature::Array(Elem::Any, None)
}

fn len(args: &[Nature]) -> Result<Nature, String> {
    one(args)?;
    let fits = list(&args[0]) || args[0].is_map() || args[0] == Nature::Str;
    if fits { Ok(Nature::Int) } else { refused("invalid argument for len (type", &args[0], ")") }
}

fn abs(args: &[Nature]) -> Result<Nature, String> {
    one(args)?;
    let fits = args[0].is_unknown() || args[0].is_number_kind();
    if fits { Ok(args[0].clone()) } else { refused("invalid argument for abs (type", &args[0], ")") }
}

fn rounding(name: &str, args: &[Nature]) -> Result<Nature, String> {
    one(args)?;
    let fits = args[0].is_unknown() || args[0].is_number_kind();
    if fits { Ok(Nature::Float) } else { refused(&format!("invalid argument for {name} (type"), &args[0], ")") }
}

fn number(name: &str, args: &[Nature], out: Nature) -> Result<Nature, String> {
    one(args)?;
    let fits = args[0].is_unknown() || args[0].is_number_kind() || args[0] == Nature::Str;
    if fits { Ok(out) } else { refused(&format!("invalid argument for {name} (type"), &args[0], ")") }
}

fn aggregate(name: &str, args: &[Nature]) -> Result<Nature, String> {
    let Some(first) = args.first() else { return Err(format!("not enough arguments to call {name}")) };
    for arg in args {
        if list(arg) {
            return Ok(Nature::Any);
        }
        if !arg.is_number_kind() {
            return refused(&format!("invalid argument for {name} (type"), arg, ")");
        }
    }
    Ok(first.clone())
}

fn now(args: &[Nature]) -> Result<Nature, String> {
    match args {
        [] | [Nature::Location] => Ok(Nature::Time),
        _ => wrong_count("0", args.len()),
    }
}

fn date(args: &[Nature]) -> Result<Nature, String> {
    let rest = match args {
        [] => return wrong_count("at least 1", 0),
        [Nature::Location, rest @ ..] => rest,
        all => all,
    };
    if rest.len() > 3 { wrong_count("at most 3", rest.len()) } else { Ok(Nature::Time) }
}

fn end(name: &str, args: &[Nature]) -> Result<Nature, String> {
    one(args)?;
    match &args[0] {
        Nature::Unknown | Nature::Any => Ok(Nature::Any),
        // Only the Go type of the elements counts here.
        Nature::Array(elem, _) => Ok(Nature::Array(*elem, None).elem()),
        Nature::Bytes => Ok(Nature::Int64),
        other => refused(&format!("cannot get {name} element from"), other, ""),
    }
}

fn take(args: &[Nature]) -> Result<Nature, String> {
    if args.len() != 2 {
        return wrong_count("2", args.len());
    }
    if !list(&args[0]) {
        return refused("cannot take from", &args[0], "");
    }
    let counts = args[1].is_unknown() || args[1].is_number_kind() && args[1] != Nature::Float;
    if !counts {
        return refused("cannot take", &args[1], " elements");
    }
    Ok(match &args[0] {
        Nature::Array(elem, _) => Nature::Array(*elem, None),
        other => other.clone(),
    })
}

fn of_map(what: &str, args: &[Nature]) -> Result<Nature, String> {
    one(args)?;
    if args[0].is_unknown() || args[0].is_map() { Ok(anys()) } else { refused(what, &args[0], "") }
}

fn of_list(what: &str, args: &[Nature]) -> Result<Nature, String> {
    one(args)?;
    if list(&args[0]) { Ok(anys()) } else { refused(what, &args[0], "") }
}

fn concat(args: &[Nature]) -> Result<Nature, String> {
    if args.is_empty() {
        return wrong_count("at least 1", 0);
    }
    match args.iter().find(|arg| !list(arg)) {
        Some(arg) => refused("cannot concat", arg, ""),
        None => Ok(anys()),
    }
}
