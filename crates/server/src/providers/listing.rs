//! The list of a user's connections, page by page.

use uuid::Uuid;

use super::{Connection, Connections, Fault, Status};
use crate::sql::{self, Query, Row};

/// Which connections, in which order, and which page of them.
#[derive(Clone, Debug)]
pub(crate) struct PageQuery {
    /// From 1 on.
    pub(crate) page: u32,
    pub(crate) per_page: u32,
    pub(crate) status: Option<Status>,
    pub(crate) provider_key: Option<String>,
    pub(crate) sort: Sort,
    pub(crate) order: Order,
}

/// By what the list is sorted. What is equal is in the order of its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    CreatedAt,
    UpdatedAt,
    Alias,
    ProviderKey,
    Status,
}

impl Sort {
    const ALL: [Self; 5] = [Self::CreatedAt, Self::UpdatedAt, Self::Alias, Self::ProviderKey, Self::Status];

    /// The one of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.column() == name)
    }

    const fn column(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Alias => "alias",
            Self::ProviderKey => "provider_key",
            Self::Status => "status",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    #[default]
    Descending,
}

impl Order {
    /// `asc` or `desc`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "asc" => Some(Self::Ascending),
            "desc" => Some(Self::Descending),
            _ => None,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Ascending => " ASC, id ASC",
            Self::Descending => " DESC, id DESC",
        }
    }
}

/// A page of the list.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Connection>,
    /// Of all pages.
    pub(crate) total: u64,
}

impl Connections {
    /// A page of the user's connections.
    pub(crate) async fn list(&self, user: Uuid, query: &PageQuery) -> Result<Page, Fault> {
        // Names from the two lists above, never from the request.
        let order = format!(" ORDER BY {}{} LIMIT ? OFFSET ?", query.sort.column(), query.order.words());
        let skipped = i64::from(query.page.saturating_sub(1)) * i64::from(query.per_page);
        let select = narrowed("*", &order, user, query).bind(query.per_page).bind(skipped);
        let rows = select.fetch_all(&self.pool).await?;
        let items: Vec<Connection> = rows.iter().map(Row::read).collect::<sqlx::Result<_>>()?;
        let total: i64 = narrowed("count(*)", "", user, query).fetch_one(&self.pool).await?.only()?;
        Ok(Page { items, total: u64::try_from(total).unwrap_or_default() })
    }
}

fn narrowed(columns: &str, order: &str, user: Uuid, query: &PageQuery) -> Query {
    let status = query.status.map_or("", |_| " AND status = ?");
    let key = query.provider_key.as_ref().map_or("", |_| " AND provider_key = ?");
    let text = format!("SELECT {columns} FROM provider_connections WHERE user_id = ?{status}{key}{order}");
    let mut narrowed = sql::query(text).bind(user.to_string());
    if let Some(status) = query.status {
        narrowed = narrowed.bind(status.as_str());
    }
    if let Some(key) = &query.provider_key {
        narrowed = narrowed.bind(key);
    }
    narrowed
}
