//! Which archived workflows are wanted. argo: persist/sqldb/selector.go, server/utils/list_options.go.

use jiff::Timestamp;

use crate::selector::Requirement;
use crate::statement::Statement;

/// How a name is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameFilter {
    /// It is this one.
    #[default]
    Exact,
    /// It holds this.
    Contains,
    /// It begins so.
    Prefix,
    /// It is another.
    NotEquals,
}

/// Which workflows, which part of them. What is empty or None selects all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this namespace.
    pub namespace: String,
    /// Of every namespace but that.
    pub other_namespaces: bool,
    /// With this name.
    pub name: String,
    /// How it is compared.
    pub name_filter: NameFilter,
    /// With names that begin so.
    pub name_prefix: String,
    /// In this phase.
    pub phase: String,
    /// Started then or later.
    pub started_from: Option<Timestamp>,
    /// Started then or earlier.
    pub started_to: Option<Timestamp>,
    /// Created then or later.
    pub created_after: Option<Timestamp>,
    /// Over then or earlier.
    pub finished_before: Option<Timestamp>,
    /// With these labels.
    pub labels: Vec<Requirement>,
    /// At most so many; 0: all of them, whatever the offset.
    pub limit: u32,
    /// Without so many at the beginning.
    pub offset: u32,
}

impl Filter {
    /// As conditions, each behind an `and`.
    pub(crate) fn conditions(&self, mut statement: Statement) -> Statement {
        let namespace = if self.other_namespaces { "namespace != " } else { "namespace = " };
        let name = match self.name_filter {
            NameFilter::Exact => Comparison::Is,
            NameFilter::Contains => Comparison::Like("%", "%"),
            NameFilter::Prefix => Comparison::Like("", "%"),
            NameFilter::NotEquals => Comparison::IsNot,
        };
        if !self.namespace.is_empty() {
            statement = statement.sql(" and ").sql(namespace).value(&*self.namespace);
        }
        statement = named(statement, name, &self.name);
        statement = named(statement, Comparison::Like("", "%"), &self.name_prefix);
        if !self.phase.is_empty() {
            statement = statement.sql(" and phase = ").value(&*self.phase);
        }
        for (comparison, moment) in [
            (" and startedat >= ", self.started_from),
            (" and startedat <= ", self.started_to),
            (" and creationtimestamp >= ", self.created_after),
            (" and finishedat <= ", self.finished_before),
        ] {
            if let Some(moment) = moment {
                statement = statement.sql(comparison).moment(moment);
            }
        }
        self.labels.iter().fold(statement, |statement, label| label.condition(statement))
    }

    /// The newest first, and which part of them.
    pub(crate) fn page(&self, statement: Statement) -> Statement {
        let statement = statement.sql(" order by startedat desc, uid");
        match self.limit {
            0 => statement,
            limit => statement.sql(&format!(" limit {limit} offset {}", self.offset)),
        }
    }
}

enum Comparison {
    Is,
    IsNot,
    /// What stands before it and behind it.
    Like(&'static str, &'static str),
}

fn named(statement: Statement, comparison: Comparison, name: &str) -> Statement {
    if name.is_empty() {
        return statement;
    }
    match comparison {
        Comparison::Is => statement.sql(" and name = ").value(name),
        Comparison::IsNot => statement.sql(" and name != ").value(name),
        Comparison::Like(before, behind) => {
            let name = name.replace('!', "!!").replace('%', "!%").replace('_', "!_");
            statement.sql(" and name like ").value(format!("{before}{name}{behind}")).sql(" escape '!'")
        }
    }
}
