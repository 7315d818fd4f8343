//! The syntax tree of an expression. Nodes lie in one list; children stand before their parents.

use std::sync::Arc;

/// A range of characters (not bytes) in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First character.
    pub from: u32,
    /// Behind the last character.
    pub to: u32,
}

/// The place of a node in its [`Ast`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node and its place in the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands, as expr-lang marks it (an operator's place for operations, a name's for members).
    pub span: Span,
    /// Levels of recursion that walking the node needs.
    pub(crate) depth: u16,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `nil`
    Nil,
    /// A name.
    Ident(Arc<str>),
    /// An integer literal.
    Int(i64),
    /// A float literal.
    Float(f64),
    /// `true`, `false`
    Bool(bool),
    /// A text literal, or a member's name.
    Str(Arc<str>),
    /// `b"..."`
    Bytes(Arc<[u8]>),
    /// `-x`, `+x`, `!x`, `not x`
    Unary(UnaryOp, NodeId),
    /// `x + y` and the like.
    Binary(BinaryOp, NodeId, NodeId),
    /// The end of a chain of `?.`: where nil found inside comes out.
    Chain(NodeId),
    /// `node.property`, `node[property]`
    Member {
        /// What is looked into.
        node: NodeId,
        /// The key: a [`Kind::Str`] for `.name`.
        property: NodeId,
        /// `?.`
        optional: bool,
        /// It is called.
        method: bool,
    },
    /// `node[from:to]`
    Slice {
        /// What is cut.
        node: NodeId,
        /// First item.
        from: Option<NodeId>,
        /// Behind the last item.
        to: Option<NodeId>,
    },
    /// A call of anything but a builtin.
    Call {
        /// What is called.
        callee: NodeId,
        /// The arguments.
        args: Vec<NodeId>,
    },
    /// A call of one of expr-lang's own functions.
    Builtin {
        /// Which.
        name: Arc<str>,
        /// The arguments; predicates are [`Kind::Predicate`].
        args: Vec<NodeId>,
    },
    /// A closure given to a builtin.
    Predicate(NodeId),
    /// `#`, `#index`, `#acc`, and the unnamed item before `.field`.
    Pointer(Arc<str>),
    /// `let name = value; body`
    Let {
        /// The variable.
        name: Arc<str>,
        /// Its value.
        value: NodeId,
        /// Where it is known.
        body: NodeId,
    },
    /// `a; b`
    Sequence(Vec<NodeId>),
    /// `c ? a : b`, `if c { a } else { b }`
    Conditional {
        /// The condition.
        condition: NodeId,
        /// The value if it holds.
        then: NodeId,
        /// The value if not.
        otherwise: NodeId,
    },
    /// `[a, b]`
    Array(Vec<NodeId>),
    /// `{key: value}`
    Map(Vec<(NodeId, NodeId)>),
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `!`
    Bang,
    /// `not`
    Not,
    /// `-`
    Minus,
    /// `+`
    Plus,
}

impl UnaryOp {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Bang => "!",
            Self::Not => "not",
            Self::Minus => "-",
            Self::Plus => "+",
        }
    }
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Or,
    OrWord,
    And,
    AndWord,
    Equal,
    NotEqual,
    Less,
    More,
    MoreEqual,
    LessEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    PowerCaret,
    Coalesce,
}

impl BinaryOp {
    pub(crate) const ALL: [(Self, &'static str, u16); 24] = [
        (Self::OrWord, "or", 10),
        (Self::Or, "||", 10),
        (Self::AndWord, "and", 15),
        (Self::And, "&&", 15),
        (Self::Equal, "==", 20),
        (Self::NotEqual, "!=", 20),
        (Self::Less, "<", 20),
        (Self::More, ">", 20),
        (Self::MoreEqual, ">=", 20),
        (Self::LessEqual, "<=", 20),
        (Self::In, "in", 20),
        (Self::Matches, "matches", 20),
        (Self::Contains, "contains", 20),
        (Self::StartsWith, "startsWith", 20),
        (Self::EndsWith, "endsWith", 20),
        (Self::Range, "..", 25),
        (Self::Add, "+", 30),
        (Self::Subtract, "-", 30),
        (Self::Multiply, "*", 60),
        (Self::Divide, "/", 60),
        (Self::Modulo, "%", 60),
        (Self::Power, "**", 100),
        (Self::PowerCaret, "^", 100),
        (Self::Coalesce, "??", 500),
    ];

    /// The operator as it is written.
    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(op, ..)| *op == self).map_or("", |(_, text, _)| text)
    }

    pub(crate) fn is_and(self) -> bool {
        matches!(self, Self::And | Self::AndWord)
    }

    pub(crate) fn is_or(self) -> bool {
        matches!(self, Self::Or | Self::OrWord)
    }

    pub(crate) fn is_power(self) -> bool {
        matches!(self, Self::Power | Self::PowerCaret)
    }

    pub(crate) fn is_comparison(self) -> bool {
        matches!(self, Self::Less | Self::More | Self::MoreEqual | Self::LessEqual)
    }
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Ast {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
}

impl Ast {
    /// The node that the whole expression is.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The node at a place.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All nodes, children before their parents. Some may not be part of the tree (`x ?: y` shares `x`).
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeId(u32::try_from(i).unwrap_or(u32::MAX)), node))
    }

    pub(crate) fn kind(&self, id: NodeId) -> &Kind {
        &self.nodes[id.index()].kind
    }

    pub(crate) fn span(&self, id: NodeId) -> Span {
        self.nodes[id.index()].span
    }

    /// Calls `f` with the children of a node, in the order of expr-lang's walk.
    pub fn children(&self, id: NodeId, f: &mut dyn FnMut(NodeId)) {
        self.kind(id).children(f);
    }
}

impl Kind {
    pub(crate) fn children(&self, f: &mut dyn FnMut(NodeId)) {
        match self {
            Self::Nil
            | Self::Ident(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Bool(_)
            | Self::Str(_)
            | Self::Bytes(_)
            | Self::Pointer(_) => {}
            Self::Unary(_, node) | Self::Chain(node) | Self::Predicate(node) => f(*node),
            Self::Binary(_, left, right) => {
                f(*left);
                f(*right);
            }
            Self::Member { node, property, .. } => {
                f(*node);
                f(*property);
            }
            Self::Slice { node, from, to } => {
                f(*node);
                from.iter().chain(to).for_each(|id| f(*id));
            }
            Self::Call { callee, args } => {
                f(*callee);
                args.iter().for_each(|id| f(*id));
            }
            Self::Builtin { args, .. } => args.iter().for_each(|id| f(*id)),
            Self::Let { value, body, .. } => {
                f(*value);
                f(*body);
            }
            Self::Sequence(nodes) | Self::Array(nodes) => nodes.iter().for_each(|id| f(*id)),
            Self::Conditional { condition, then, otherwise } => {
                f(*condition);
                f(*then);
                f(*otherwise);
            }
            Self::Map(pairs) => {
                for (key, value) in pairs {
                    f(*key);
                    f(*value);
                }
            }
        }
    }
}
