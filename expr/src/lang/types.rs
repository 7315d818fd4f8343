//! Static types of expressions, and the signatures of Go functions.

use crate::value::{Elem, GoEnum, Map, MapKind, Value};
use std::sync::Arc;

/// A type in the signature of a Go function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ty {
    Any,
    Bool,
    Int,
    Int64,
    Float,
    Str,
    Anys,
    Ints,
    Floats,
    Strs,
    StrAny,
    StrStr,
    Time,
    Duration,
    Month,
    Weekday,
    Location,
}

impl Ty {
    pub fn go_type(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Float => "float64",
            Self::Str => "string",
            Self::Anys => "[]interface {}",
            Self::Ints => "[]int",
            Self::Floats => "[]float64",
            Self::Strs => "[]string",
            Self::StrAny => "map[string]interface {}",
            Self::StrStr => "map[string]string",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
            Self::Month => "time.Month",
            Self::Weekday => "time.Weekday",
            Self::Location => "*time.Location",
        }
    }

    pub fn nature(self) -> Nature {
        match self {
            Self::Any => Nature::Any,
            Self::Bool => Nature::Bool,
            Self::Int => Nature::Int,
            Self::Int64 => Nature::Int64,
            Self::Float => Nature::Float,
            Self::Str => Nature::Str,
            Self::Anys | Self::Floats => Nature::Array(Elem::Any, None),
            Self::Ints => Nature::Array(Elem::Int, None),
            Self::Strs => Nature::Array(Elem::Str, None),
            Self::StrAny => Nature::Map(MapKind::StrAny),
            Self::StrStr => Nature::Map(MapKind::StrStr),
            Self::Time => Nature::Time,
            Self::Duration => Nature::Duration,
            Self::Month => Nature::Enum(GoEnum::Month),
            Self::Weekday => Nature::Enum(GoEnum::Weekday),
            Self::Location => Nature::Location,
        }
    }

    /// The type of `value` is assignable to this one, as reflect.Call demands.
    pub fn accepts(self, value: &Value) -> bool {
        self == Self::Any || value.go_type() == self.go_type()
    }

    /// `reflect.Zero`: what nil becomes as an argument.
    pub fn zero(self) -> Value {
        match self {
            Self::Any => Value::Nil,
            Self::Bool => Value::Bool(false),
            Self::Int => Value::Int(0),
            Self::Int64 => Value::Int64(0),
            Self::Float => Value::Float(0.0),
            Self::Str => Value::str(""),
            Self::Anys | Self::Floats => Value::nil_slice(Elem::Any),
            Self::Ints => Value::nil_slice(Elem::Int),
            Self::Strs => Value::nil_slice(Elem::Str),
            Self::StrAny => Value::map_of(MapKind::StrAny, [("", Value::Nil); 0]),
            Self::StrStr => Value::map_of(MapKind::StrStr, [("", Value::Nil); 0]),
            Self::Time => Value::Time(Arc::new(crate::go::Time::zero())),
            Self::Duration => Value::Duration(0),
            Self::Month => Value::Enum(GoEnum::Month, 0),
            Self::Weekday => Value::Enum(GoEnum::Weekday, 0),
            Self::Location => Value::Location(Arc::new(crate::go::Zone::Utc)),
        }
    }
}

/// The signature of a Go function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sig {
    pub params: &'static [Ty],
    /// The last parameter may be given any number of times.
    pub variadic: bool,
    /// The first result.
    pub out: Ty,
    /// The number of results.
    pub outs: u8,
}

impl Sig {
    pub const fn new(params: &'static [Ty], out: Ty) -> Self {
        Self { params, variadic: false, out, outs: 1 }
    }

    pub fn param(&self, i: usize) -> Ty {
        self.params.get(i).or(self.params.last()).copied().unwrap_or(Ty::Any)
    }

    pub fn go_type(&self) -> String {
        let last = self.params.len();
        let params: Vec<_> = self
            .params
            .iter()
            .enumerate()
            .map(|(i, ty)| {
                let dots = if self.variadic && i + 1 == last { "..." } else { "" };
                format!("{dots}{}", ty.go_type())
            })
            .collect();
        format!("func({}) {}", params.join(", "), self.out.go_type())
    }
}

/// What the checker knows of a value before the expression runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Nature {
    /// Anything: checked while running.
    Unknown,
    /// Go's empty interface: anything as well, under another name in messages.
    Any,
    /// The literal nil, or a variable that is nil.
    Nil,
    Bool,
    Int,
    Int64,
    Float,
    Str,
    Bytes,
    /// A slice, and what is known of its elements beyond the Go type.
    Array(Elem, Option<Arc<Nature>>),
    Map(MapKind),
    Struct(Arc<Map>),
    Func(Sig),
    /// A closure with what it returns.
    Predicate(Arc<Nature>),
    Time,
    Duration,
    Enum(GoEnum),
    Location,
}

/// Kinds that checks of operators and functions ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Bool,
    Str,
    Integer,
    Number,
    Array,
    Time,
    Duration,
}

impl Nature {
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::Int64(_) | Value::Byte(_) => Self::Int64,
            Value::Float(_) => Self::Float,
            Value::Str(_) => Self::Str,
            Value::Bytes(_) => Self::Bytes,
            Value::Array(array) => Self::Array(array.elem, None),
            Value::Map(map) => match map.kind {
                MapKind::Struct(_) => Self::Struct(map.clone()),
                kind => Self::Map(kind),
            },
            Value::Func(function) => Self::Func(function.sig()),
            Value::Time(_) => Self::Time,
            Value::Duration(_) => Self::Duration,
            Value::Enum(kind, _) => Self::Enum(*kind),
            Value::Location(_) => Self::Location,
        }
    }

    pub fn array_of(element: Nature) -> Self {
        Self::Array(Elem::Any, Some(Arc::new(element)))
    }

    /// The type as messages show it.
    pub fn go_type(&self) -> String {
        match self {
            Self::Unknown | Self::Nil => "unknown".to_owned(),
            Self::Any => "interface {}".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Int64 => "int64".to_owned(),
            Self::Float => "float64".to_owned(),
            Self::Str => "string".to_owned(),
            Self::Bytes => "[]uint8".to_owned(),
            Self::Array(elem, _) => elem.slice_type().to_owned(),
            Self::Map(kind) => kind.go_type().to_owned(),
            Self::Struct(map) => map.kind.go_type().to_owned(),
            Self::Func(sig) => sig.go_type(),
            Self::Predicate(out) => format!("func(interface {{}}) {}", out.go_type()),
            Self::Time => "time.Time".to_owned(),
            Self::Duration => "time.Duration".to_owned(),
            Self::Enum(kind) => kind.go_type().to_owned(),
            Self::Location => "*time.Location".to_owned(),
        }
    }

    /// The type as the checks of builtins show it, where nil has no type at all.
    pub fn arg_type(&self) -> String {
        match self {
            Self::Nil => "%!s(<nil>)".to_owned(),
            Self::Unknown => "interface {}".to_owned(),
            _ => self.go_type(),
        }
    }

    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Any)
    }

    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Int | Self::Int64)
    }

    pub fn is_number(&self) -> bool {
        self.is_integer() || *self == Self::Float
    }

    /// Numbers and the named integers of Go's time package: what reflect.Kind calls a number.
    pub fn is_number_kind(&self) -> bool {
        self.is_number() || matches!(self, Self::Duration | Self::Enum(_))
    }

    pub fn is_array(&self) -> bool {
        matches!(self, Self::Array(..) | Self::Bytes)
    }

    pub fn is_map(&self) -> bool {
        matches!(self, Self::Map(_))
    }

    pub fn is(&self, is: Is) -> bool {
        match is {
            Is::Bool => *self == Self::Bool,
            Is::Str => *self == Self::Str,
            Is::Integer => self.is_integer(),
            Is::Number => self.is_number(),
            Is::Array => self.is_array(),
            Is::Time => *self == Self::Time,
            Is::Duration => *self == Self::Duration,
        }
    }

    fn is_any_of(&self, kinds: &[Is]) -> bool {
        kinds.iter().any(|kind| self.is(*kind))
    }

    /// One side is unknown and the other could fit.
    pub fn maybe_compatible(&self, other: &Self, kinds: &[Is]) -> bool {
        match (self.is_unknown(), other.is_unknown()) {
            (true, true) => true,
            (true, false) => other.is_any_of(kinds),
            (false, true) => self.is_any_of(kinds),
            (false, false) => false,
        }
    }

    pub fn comparable_to(&self, other: &Self) -> bool {
        let both = |kind| self.is(kind) && other.is(kind);
        self.is_unknown()
            || other.is_unknown()
            || *self == Self::Nil
            || *other == Self::Nil
            || both(Is::Number)
            || both(Is::Duration)
            || both(Is::Time)
            || both(Is::Array)
            || self.assignable_to(other)
    }

    pub fn assignable_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, _) => {
                matches!(other, Self::Any | Self::Location | Self::Func(_) | Self::Map(_)) || other.is_array()
            }
            (Self::Unknown | Self::Any, _) => *self == Self::Any && *other == Self::Any,
            (_, Self::Any) => true,
            (_, Self::Unknown) => false,
            (_, Self::Nil) => false,
            _ => self.go_type() == other.go_type(),
        }
    }

    /// The kind of value, as coarse as reflect.Kind: lists whose elements agree in it keep an element type.
    pub fn same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(..) | Self::Bytes, Self::Array(..) | Self::Bytes) => true,
            (Self::Map(_), Self::Map(_)) => true,
            (Self::Func(_), Self::Func(_)) => true,
            (Self::Struct(_) | Self::Time, Self::Struct(_) | Self::Time) => true,
            (Self::Int64, Self::Duration) | (Self::Duration, Self::Int64) => true,
            (Self::Int, Self::Enum(_)) | (Self::Enum(_), Self::Int | Self::Enum(_)) => true,
            _ => self == other,
        }
    }

    pub fn promote(&self, other: &Self) -> Self {
        if *self == Self::Float || *other == Self::Float { Self::Float } else { Self::Int }
    }

    /// The type of the elements.
    pub fn elem(&self) -> Self {
        match self {
            Self::Array(_, Some(element)) => (**element).clone(),
            Self::Array(Elem::Int, None) => Self::Int,
            Self::Array(Elem::Str, None) => Self::Str,
            Self::Array(Elem::Pair, None) => Self::Array(Elem::PairItem, None),
            Self::Array(Elem::Anys, None) => Self::Array(Elem::Any, None),
            Self::Bytes => Self::Int64,
            Self::Map(MapKind::StrStr) => Self::Str,
            Self::Map(MapKind::Groups) => Self::Array(Elem::Any, None),
            _ => Self::Any,
        }
    }

    /// The type of a map's keys.
    pub fn key(&self) -> Self {
        match self {
            Self::Map(MapKind::StrAny | MapKind::StrStr) => Self::Str,
            _ => Self::Any,
        }
    }
}
