//! `object!`: structs of the API that lose nothing.
//!
//! Go's types drop fields that they do not know. Ours keep them in `extra`, so that an object from a newer Argo survives
//! being read and written. Empty values are left out when written, as Go's `omitempty` does; `null` reads as absent.
//! The macro writes the visitor by hand because serde's `flatten` buffers every value, which is slow for a status of
//! tens of thousands of nodes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Fields that this version does not know, by name.
pub type Extra = BTreeMap<String, Value>;

/// Whether a value would be left out when written, and which fields below it are unknown.
pub trait Field {
    /// True for what Go's `omitempty` leaves out: empty text, list, map, false, zero, and objects with nothing in them.
    fn is_empty(&self) -> bool;
    /// Calls `found` with the path (as `spec.templates[0].foo`) of each unknown field below `path`.
    fn unknown_fields(&self, _path: &str, _found: &mut dyn FnMut(String)) {}
    /// What may stand there, as an OpenAPI schema in the form that Kubernetes takes. `above` are the objects around it: one
    /// that is inside itself is any object there. What is not said here is any value.
    fn schema(_above: &mut Vec<&'static str>) -> Value
    where
        Self: Sized,
    {
        anything()
    }
}

/// How many objects inside each other a schema describes: with every store of every artifact of every step, it would be a
/// megabyte, and `kubectl apply` takes a quarter of that.
pub(crate) const DESCRIBED_DEPTH: usize = 5;

/// The schema of any value.
pub(crate) fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

/// The schema of a scalar. `null` reads as absent, as Go's reader has it.
pub(crate) fn scalar(kind: &str) -> Value {
    json!({"type": kind, "nullable": true})
}

impl Field for String {
    fn is_empty(&self) -> bool {
        str::is_empty(self)
    }
    fn schema(_above: &mut Vec<&'static str>) -> Value {
        scalar("string")
    }
}

impl Field for bool {
    fn is_empty(&self) -> bool {
        !*self
    }
    fn schema(_above: &mut Vec<&'static str>) -> Value {
        scalar("boolean")
    }
}

impl Field for i64 {
    fn is_empty(&self) -> bool {
        *self == 0
    }
    fn schema(_above: &mut Vec<&'static str>) -> Value {
        scalar("integer")
    }
}

impl Field for Value {
    fn is_empty(&self) -> bool {
        self.is_null()
    }
}

impl<T: Field> Field for Option<T> {
    fn is_empty(&self) -> bool {
        self.is_none()
    }
    fn unknown_fields(&self, path: &str, found: &mut dyn FnMut(String)) {
        if let Some(value) = self {
            value.unknown_fields(path, found);
        }
    }
    fn schema(above: &mut Vec<&'static str>) -> Value {
        T::schema(above)
    }
}

impl<T: Field> Field for Box<T> {
    fn is_empty(&self) -> bool {
        T::is_empty(self)
    }
    fn unknown_fields(&self, path: &str, found: &mut dyn FnMut(String)) {
        T::unknown_fields(self, path, found);
    }
    fn schema(above: &mut Vec<&'static str>) -> Value {
        T::schema(above)
    }
}

impl<T: Field> Field for Vec<T> {
    fn is_empty(&self) -> bool {
        <[T]>::is_empty(self)
    }
    fn unknown_fields(&self, path: &str, found: &mut dyn FnMut(String)) {
        for (index, value) in self.iter().enumerate() {
            value.unknown_fields(&format!("{path}[{index}]"), found);
        }
    }
    fn schema(above: &mut Vec<&'static str>) -> Value {
        json!({"type": "array", "nullable": true, "items": T::schema(above)})
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }
    fn unknown_fields(&self, path: &str, found: &mut dyn FnMut(String)) {
        for (key, value) in self {
            value.unknown_fields(&format!("{path}.{key}"), found);
        }
    }
    fn schema(above: &mut Vec<&'static str>) -> Value {
        json!({"type": "object", "nullable": true, "additionalProperties": T::schema(above)})
    }
}

macro_rules! object {
    ($(#[$meta:meta])* pub struct $name:ident { $( $json:literal => $field:ident : $type:ty ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $(
                #[doc = concat!("`", $json, "`")]
                pub $field: $type,
            )*
            /// Fields that this version does not know.
            pub extra: $crate::object::Extra,
        }

        impl $crate::object::Field for $name {
            fn is_empty(&self) -> bool {
                $( $crate::object::Field::is_empty(&self.$field) && )* self.extra.is_empty()
            }
            fn unknown_fields(&self, path: &str, found: &mut dyn FnMut(String)) {
                let at = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                for name in self.extra.keys() {
                    found(at(name));
                }
                $( $crate::object::Field::unknown_fields(&self.$field, &at($json), found); )*
            }
            fn schema(above: &mut Vec<&'static str>) -> serde_json::Value {
                if above.len() >= $crate::object::DESCRIBED_DEPTH || above.contains(&stringify!($name)) {
                    return serde_json::json!({
                        "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true,
                    });
                }
                above.push(stringify!($name));
                let properties: serde_json::Map<String, serde_json::Value> = [
                    $( ($json.to_string(), <$type as $crate::object::Field>::schema(above)), )*
                ].into_iter().collect();
                above.pop();
                // Fields that this version does not know are kept, as everywhere.
                serde_json::json!({
                    "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true,
                    "properties": properties,
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                $(
                    if !$crate::object::Field::is_empty(&self.$field) {
                        map.serialize_entry($json, &self.$field)?;
                    }
                )*
                for (key, value) in &self.extra {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<$name, M::Error> {
                        let mut object = $name::default();
                        while let Some(key) = map.next_key::<$crate::object::Key<'de>>()? {
                            match key.as_ref() {
                                $( $json => {
                                    if let Some(value) = map.next_value::<Option<$type>>()? {
                                        object.$field = value;
                                    }
                                } )*
                                _ => {
                                    object.extra.insert(key.into(), map.next_value()?);
                                }
                            }
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Visitor)
            }
        }
    };
}
pub(crate) use object;

/// A field's name while an object is read: borrowed where the input allows it.
pub(crate) struct Key<'de>(std::borrow::Cow<'de, str>);

impl AsRef<str> for Key<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Key<'_>> for String {
    fn from(key: Key<'_>) -> String {
        key.0.into_owned()
    }
}

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(text.into()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(text.to_string().into()))
            }
            fn visit_string<E>(self, text: String) -> Result<Key<'de>, E> {
                Ok(Key(text.into()))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
