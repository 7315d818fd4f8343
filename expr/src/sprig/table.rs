//! The table of functions: name, Go signature, implementation.

use super::{SprigFn, dates, defaults, dicts, encoding, lists, math, paths, random, reflect, regexes, semver};
use super::{int, strings, text, urls, words};
use crate::lang::types::{Sig, Ty};
use crate::value::{Elem, Value};

macro_rules! functions {
    (@variadic) => { false };
    (@variadic +) => { true };
    ($($name:ident ( $($param:ident),* $(; $variadic:tt)? ) -> $out:ident = $call:expr;)*) => {
        &[$(SprigFn {
            name: name_of(stringify!($name)),
            sig: Sig {
                params: &[$(Ty::$param),*],
                variadic: functions!(@variadic $($variadic)?),
                out: Ty::$out,
                outs: 1,
            },
            call: $call,
        }),*]
    };
}

/// `mod` is a word of Rust's own: it is written `r#mod`.
const fn name_of(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

fn str_of(value: impl Into<std::sync::Arc<str>>) -> Result<Value, String> {
    Ok(Value::str(value))
}

/// All functions; `; +` marks a last parameter that may be repeated.
pub(crate) static FUNCTIONS: &[SprigFn] = functions! {
    hello() -> Str = |_| str_of("Hello!");

    ago(Any) -> Str = dates::ago;
    date(Str, Any) -> Str = |a| dates::in_zone(text(&a[0]), &a[1], "Local");
    date_in_zone(Str, Any, Str) -> Str = |a| dates::in_zone(text(&a[0]), &a[1], text(&a[2]));
    date_modify(Str, Time) -> Time = |a| Ok(dates::modify(a).unwrap_or_else(|_| a[1].clone()));
    dateInZone(Str, Any, Str) -> Str = |a| dates::in_zone(text(&a[0]), &a[1], text(&a[2]));
    dateModify(Str, Time) -> Time = |a| Ok(dates::modify(a).unwrap_or_else(|_| a[1].clone()));
    duration(Any) -> Str = dates::duration;
    durationRound(Any) -> Str = dates::duration_round;
    htmlDate(Any) -> Str = |a| dates::in_zone("2006-01-02", &a[0], "Local");
    htmlDateInZone(Any, Str) -> Str = |a| dates::in_zone("2006-01-02", &a[0], text(&a[1]));
    must_date_modify(Str, Time) -> Time = dates::modify;
    mustDateModify(Str, Time) -> Time = dates::modify;
    mustToDate(Str, Str) -> Time = dates::must_to_date;
    now() -> Time = dates::now;
    toDate(Str, Str) -> Time = |a| Ok(dates::must_to_date(a).unwrap_or_else(|_| Ty::Time.zero()));
    unixEpoch(Time) -> Str = dates::unix_epoch;

    abbrev(Int, Str) -> Str = |a| strings::abbrev(0, int(&a[0]), text(&a[1]));
    abbrevboth(Int, Int, Str) -> Str = |a| strings::abbrev_both(int(&a[0]), int(&a[1]), text(&a[2]));
    trunc(Int, Str) -> Str = strings::trunc;
    trim(Str) -> Str = |a| str_of(crate::text::trim_space(text(&a[0])));
    upper(Str) -> Str = |a| str_of(crate::text::to_upper(text(&a[0])));
    lower(Str) -> Str = |a| str_of(crate::text::to_lower(text(&a[0])));
    title(Str) -> Str = |a| str_of(crate::text::title(text(&a[0])));
    untitle(Str) -> Str = strings::untitle;
    substr(Int, Int, Str) -> Str = strings::substr;
    repeat(Int, Str) -> Str = |a| crate::text::repeat(text(&a[1]), int(&a[0])).map(Value::str);
    trimall(Str, Str) -> Str = strings::trim_all;
    trimAll(Str, Str) -> Str = strings::trim_all;
    trimSuffix(Str, Str) -> Str = |a| str_of(text(&a[1]).strip_suffix(text(&a[0])).unwrap_or(text(&a[1])));
    trimPrefix(Str, Str) -> Str = |a| str_of(text(&a[1]).strip_prefix(text(&a[0])).unwrap_or(text(&a[1])));
    nospace(Str) -> Str = strings::nospace;
    initials(Str) -> Str = strings::initials;
    randAlphaNum(Int) -> Str = |a| random::text(int(&a[0]), random::ALPHANUMERIC);
    randAlpha(Int) -> Str = |a| random::text(int(&a[0]), random::ALPHA);
    randAscii(Int) -> Str = |a| random::text(int(&a[0]), random::ASCII);
    randNumeric(Int) -> Str = |a| random::text(int(&a[0]), random::NUMERIC);
    swapcase(Str) -> Str = strings::swap_case;
    shuffle(Str) -> Str = random::shuffle;
    snakecase(Str) -> Str = |a| str_of(words::lower_joined(text(&a[0]), '_'));
    camelcase(Str) -> Str = |a| str_of(words::pascal(text(&a[0])));
    kebabcase(Str) -> Str = |a| str_of(words::lower_joined(text(&a[0]), '-'));
    wrap(Int, Str) -> Str = |a| strings::wrap(int(&a[0]), "\n", text(&a[1]), false);
    wrapWith(Int, Str, Str) -> Str = |a| strings::wrap(int(&a[0]), text(&a[1]), text(&a[2]), true);
    contains(Str, Str) -> Bool = |a| Ok(Value::Bool(text(&a[1]).contains(text(&a[0]))));
    hasPrefix(Str, Str) -> Bool = |a| Ok(Value::Bool(text(&a[1]).starts_with(text(&a[0]))));
    hasSuffix(Str, Str) -> Bool = |a| Ok(Value::Bool(text(&a[1]).ends_with(text(&a[0]))));
    quote(Any; +) -> Str = strings::quote;
    squote(Any; +) -> Str = strings::squote;
    cat(Any; +) -> Str = strings::cat;
    indent(Int, Str) -> Str = |a| strings::indent(int(&a[0]), text(&a[1])).map(Value::str);
    nindent(Int, Str) -> Str = |a| strings::indent(int(&a[0]), text(&a[1])).map(|t| Value::str(format!("\n{t}")));
    replace(Str, Str, Str) -> Str = |a| {
        crate::text::replace(text(&a[2]), text(&a[0]), text(&a[1]), -1).map(Value::str)
    };
    plural(Str, Str, Int) -> Str = |a| Ok(if int(&a[2]) == 1 { a[0].clone() } else { a[1].clone() });
    sha1sum(Str) -> Str = encoding::sha1sum;
    sha256sum(Str) -> Str = encoding::sha256sum;
    sha512sum(Str) -> Str = encoding::sha512sum;
    adler32sum(Str) -> Str = encoding::adler32sum;
    toString(Any) -> Str = |a| str_of(strings::strval(&a[0]));

    atoi(Str) -> Int = |a| Ok(Value::Int(text(&a[0]).parse().unwrap_or(0)));
    int64(Any) -> Int64 = |a| Ok(Value::Int64(math::to_int(&a[0])));
    int(Any) -> Int = |a| Ok(Value::Int(math::to_int(&a[0])));
    float64(Any) -> Float = |a| Ok(Value::Float(math::to_float(&a[0])));
    seq(Int; +) -> Str = math::seq;
    toDecimal(Any) -> Int64 = math::to_decimal;
    split(Str, Str) -> StrStr = |a| lists::numbered(crate::text::split_n(text(&a[1]), text(&a[0]), -1, false));
    splitList(Str, Str) -> Strs = |a| {
        Ok(Value::strs(crate::text::split_n(text(&a[1]), text(&a[0]), -1, false).unwrap_or_default()))
    };
    splitn(Str, Int, Str) -> StrStr = |a| {
        lists::numbered(crate::text::split_n(text(&a[2]), text(&a[0]), int(&a[1]), false))
    };
    toStrings(Any) -> Strs = |a| Ok(Value::strs(lists::strings(&a[0])));
    until(Int) -> Ints = |a| {
        let count = int(&a[0]);
        math::until_step(0, count, if count < 0 { -1 } else { 1 })
    };
    untilStep(Int, Int, Int) -> Ints = |a| math::until_step(int(&a[0]), int(&a[1]), int(&a[2]));
    add1(Any) -> Int64 = |a| Ok(Value::Int64(math::to_int(&a[0]).wrapping_add(1)));
    add(Any; +) -> Int64 = |a| Ok(Value::Int64(a.iter().map(math::to_int).fold(0, i64::wrapping_add)));
    sub(Any, Any) -> Int64 = |a| Ok(Value::Int64(math::to_int(&a[0]).wrapping_sub(math::to_int(&a[1]))));
    div(Any, Any) -> Int64 = |a| math::divide(a, i64::wrapping_div);
    r#mod(Any, Any) -> Int64 = |a| math::divide(a, i64::wrapping_rem);
    mul(Any, Any; +) -> Int64 = |a| Ok(Value::Int64(a.iter().map(math::to_int).fold(1, i64::wrapping_mul)));
    randInt(Int, Int) -> Int = random::int_between;
    add1f(Any) -> Float = |a| math::decimals(&a[0], &[Value::Int(1)], math::Decimal::add);
    addf(Any; +) -> Float = |a| math::decimals(&Value::Float(0.0), a, math::Decimal::add);
    subf(Any, Any; +) -> Float = |a| math::decimals(&a[0], &a[1..], math::Decimal::sub);
    divf(Any, Any; +) -> Float = |a| math::decimals(&a[0], &a[1..], math::Decimal::div);
    mulf(Any, Any; +) -> Float = |a| math::decimals(&a[0], &a[1..], math::Decimal::mul);
    biggest(Any, Any; +) -> Int64 = |a| Ok(Value::Int64(a.iter().map(math::to_int).max().unwrap_or(0)));
    max(Any, Any; +) -> Int64 = |a| Ok(Value::Int64(a.iter().map(math::to_int).max().unwrap_or(0)));
    min(Any, Any; +) -> Int64 = |a| Ok(Value::Int64(a.iter().map(math::to_int).min().unwrap_or(0)));
    maxf(Any, Any; +) -> Float = |a| math::extreme(a, |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) });
    minf(Any, Any; +) -> Float = |a| math::extreme(a, |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) });
    ceil(Any) -> Float = |a| Ok(Value::Float(math::to_float(&a[0]).ceil()));
    floor(Any) -> Float = |a| Ok(Value::Float(math::to_float(&a[0]).floor()));
    round(Any, Int, Float; +) -> Float = math::round;

    join(Str, Any) -> Str = |a| str_of(lists::strings(&a[1]).join(text(&a[0])));
    sortAlpha(Any) -> Strs = lists::sort_alpha;

    default(Any, Any; +) -> Any = defaults::default_value;
    empty(Any) -> Bool = |a| Ok(Value::Bool(defaults::is_empty(&a[0])));
    coalesce(Any; +) -> Any = |a| {
        Ok(a.iter().find(|v| !defaults::is_empty(v)).cloned().unwrap_or(Value::Nil))
    };
    all(Any; +) -> Bool = |a| Ok(Value::Bool(!a.iter().any(defaults::is_empty)));
    any(Any; +) -> Bool = |a| Ok(Value::Bool(a.iter().any(|v| !defaults::is_empty(v))));
    compact(Any) -> Anys = lists::compact;
    mustCompact(Any) -> Anys = lists::compact;
    fromJson(Str) -> Any = |a| Ok(encoding::from_json(a).unwrap_or(Value::Nil));
    toJson(Any) -> Str = |a| str_of(crate::go::marshal(&a[0]).unwrap_or_default());
    toPrettyJson(Any) -> Str = |a| str_of(crate::go::marshal_indent(&a[0], "  ").unwrap_or_default());
    toRawJson(Any) -> Str = encoding::to_raw_json;
    mustFromJson(Str) -> Any = encoding::from_json;
    mustToJson(Any) -> Str = |a| crate::go::marshal(&a[0]).map(Value::str).map_err(|e| e.to_string());
    mustToPrettyJson(Any) -> Str = |a| {
        crate::go::marshal_indent(&a[0], "  ").map(Value::str).map_err(|e| e.to_string())
    };
    mustToRawJson(Any) -> Str = encoding::to_raw_json;
    ternary(Any, Any, Bool) -> Any = |a| Ok(if a[2] == Value::Bool(true) { a[0].clone() } else { a[1].clone() });
    deepCopy(Any) -> Any = defaults::deep_copy;
    mustDeepCopy(Any) -> Any = defaults::deep_copy;

    typeOf(Any) -> Str = |a| str_of(a[0].go_type());
    typeIs(Str, Any) -> Bool = |a| Ok(Value::Bool(text(&a[0]) == a[1].go_type()));
    typeIsLike(Str, Any) -> Bool = reflect::type_is_like;
    kindOf(Any) -> Str = |a| str_of(reflect::kind(&a[0]));
    kindIs(Str, Any) -> Bool = |a| Ok(Value::Bool(text(&a[0]) == reflect::kind(&a[1])));
    deepEqual(Any, Any) -> Bool = |a| Ok(Value::Bool(reflect::deep_equal(&a[0], &a[1])));

    base(Str) -> Str = |a| str_of(paths::base(text(&a[0])));
    dir(Str) -> Str = |a| str_of(paths::dir(text(&a[0])));
    clean(Str) -> Str = |a| str_of(paths::clean(text(&a[0])));
    ext(Str) -> Str = |a| str_of(paths::ext(text(&a[0])));
    isAbs(Str) -> Bool = |a| Ok(Value::Bool(text(&a[0]).starts_with('/')));
    osBase(Str) -> Str = |a| str_of(paths::base(text(&a[0])));
    osClean(Str) -> Str = |a| str_of(paths::clean(text(&a[0])));
    osDir(Str) -> Str = |a| str_of(paths::dir(text(&a[0])));
    osExt(Str) -> Str = |a| str_of(paths::ext(text(&a[0])));
    osIsAbs(Str) -> Bool = |a| Ok(Value::Bool(text(&a[0]).starts_with('/')));

    b64enc(Str) -> Str = |a| str_of(crate::base64_encode(text(&a[0]).as_bytes()));
    b64dec(Str) -> Str = encoding::b64dec;
    b32enc(Str) -> Str = encoding::b32enc;
    b32dec(Str) -> Str = encoding::b32dec;

    tuple(Any; +) -> Anys = lists::list;
    list(Any; +) -> Anys = lists::list;
    dict(Any; +) -> StrAny = dicts::dict;
    get(StrAny, Str) -> Any = dicts::get;
    set(StrAny, Str, Any) -> StrAny = dicts::set;
    unset(StrAny, Str) -> StrAny = dicts::unset;
    hasKey(StrAny, Str) -> Bool = dicts::has_key;
    pluck(Str, StrAny; +) -> Anys = dicts::pluck;
    keys(StrAny; +) -> Strs = dicts::keys;
    pick(StrAny, Str; +) -> StrAny = dicts::pick;
    omit(StrAny, Str; +) -> StrAny = dicts::omit;
    merge(StrAny, StrAny; +) -> Any = |a| Ok(dicts::merged(a, false));
    mergeOverwrite(StrAny, StrAny; +) -> Any = |a| Ok(dicts::merged(a, true));
    mustMerge(StrAny, StrAny; +) -> Any = |a| Ok(dicts::merged(a, false));
    mustMergeOverwrite(StrAny, StrAny; +) -> Any = |a| Ok(dicts::merged(a, true));
    values(StrAny) -> Anys = dicts::values;

    append(Any, Any) -> Anys = lists::push;
    push(Any, Any) -> Anys = lists::push;
    mustAppend(Any, Any) -> Anys = lists::push;
    mustPush(Any, Any) -> Anys = lists::push;
    prepend(Any, Any) -> Anys = lists::prepend;
    mustPrepend(Any, Any) -> Anys = lists::prepend;
    first(Any) -> Any = |a| lists::end("first", &a[0], false);
    mustFirst(Any) -> Any = |a| lists::end("first", &a[0], false);
    rest(Any) -> Anys = |a| lists::part("rest", &a[0], 1, 0);
    mustRest(Any) -> Anys = |a| lists::part("rest", &a[0], 1, 0);
    last(Any) -> Any = |a| lists::end("last", &a[0], true);
    mustLast(Any) -> Any = |a| lists::end("last", &a[0], true);
    initial(Any) -> Anys = |a| lists::part("initial", &a[0], 0, 1);
    mustInitial(Any) -> Anys = |a| lists::part("initial", &a[0], 0, 1);
    reverse(Any) -> Anys = lists::reverse;
    mustReverse(Any) -> Anys = lists::reverse;
    uniq(Any) -> Anys = lists::uniq;
    mustUniq(Any) -> Anys = lists::uniq;
    without(Any, Any; +) -> Anys = lists::without;
    mustWithout(Any, Any; +) -> Anys = lists::without;
    has(Any, Any) -> Bool = lists::has;
    mustHas(Any, Any) -> Bool = lists::has;
    slice(Any, Any; +) -> Any = lists::slice;
    mustSlice(Any, Any; +) -> Any = lists::slice;
    concat(Any; +) -> Any = lists::concat;
    dig(Any; +) -> Any = dicts::dig;
    chunk(Int, Any) -> Anys = lists::chunk;
    mustChunk(Int, Any) -> Anys = lists::chunk;

    randBytes(Int) -> Str = random::bytes;
    uuidv4() -> Str = random::uuid;

    semver(Str) -> Any = semver::parsed;
    semverCompare(Str, Str) -> Bool = semver::compare;

    fail(Str) -> Str = |a| Err(text(&a[0]).to_owned());

    regexMatch(Str, Str) -> Bool = |a| Ok(regexes::is_match(a).unwrap_or(Value::Bool(false)));
    mustRegexMatch(Str, Str) -> Bool = regexes::is_match;
    regexFindAll(Str, Str, Int) -> Strs = regexes::find_all;
    mustRegexFindAll(Str, Str, Int) -> Strs = regexes::find_all;
    regexFind(Str, Str) -> Str = regexes::find;
    mustRegexFind(Str, Str) -> Str = regexes::find;
    regexReplaceAll(Str, Str, Str) -> Str = regexes::replace_all;
    mustRegexReplaceAll(Str, Str, Str) -> Str = regexes::replace_all;
    regexReplaceAllLiteral(Str, Str, Str) -> Str = regexes::replace_all_literal;
    mustRegexReplaceAllLiteral(Str, Str, Str) -> Str = regexes::replace_all_literal;
    regexSplit(Str, Str, Int) -> Strs = regexes::split;
    mustRegexSplit(Str, Str, Int) -> Strs = regexes::split;
    regexQuoteMeta(Str) -> Str = regexes::quote_meta;

    urlParse(Str) -> StrAny = urls::parse;
    urlJoin(StrAny) -> Str = urls::join;
};

/// A []int.
pub(super) fn ints(values: Vec<i64>) -> Value {
    Value::slice(Elem::Int, values.into_iter().map(Value::Int).collect())
}
