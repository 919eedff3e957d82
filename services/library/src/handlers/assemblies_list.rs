//! `assemblies-list`: assemblies by name, narrowed by words and fields.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::library::AssemblyView;
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{sees, sites_of};
use crate::catalogue::view;
use crate::library::Library;

/// Is how many items a page holds unless asked.
const PAGE: usize = 200;
/// Is how many items a page holds at most.
const MAX_PAGE: usize = 500;
/// Is about how long a page is at most, so that it fits a message of the bus.
const PAGE_BYTES: usize = 600 << 10;

/// Is what a list is narrowed to.
struct Filter {
    words: Vec<String>,
    in_scripts: bool,
    category: Option<String>,
    language: Option<String>,
    tag: Option<String>,
    site: Option<String>,
    /// `active`, `published`, `draft`, `archived` or `all`.
    state: String,
}

impl Filter {
    fn read(ctx: &OperatorCtx) -> Reply<Self> {
        let given = |name: &str| ctx.call.query(name).filter(|text| !text.is_empty());
        let state = given("state").unwrap_or_else(|| "active".to_owned());
        if !["active", "published", "draft", "archived", "all"].contains(&state.as_str()) {
            let text = "state is one of active, published, draft, archived, all";
            return Err(WireError::new(Code::InvalidField, text));
        }
        let words = given("q").unwrap_or_default().to_lowercase();
        Ok(Self {
            words: words.split_whitespace().map(ToOwned::to_owned).collect(),
            in_scripts: given("in").as_deref() == Some("script"),
            category: given("category"),
            language: given("type"),
            tag: given("tag"),
            site: given("site"),
            state,
        })
    }

    /// Tells whether everything but the words fits.
    fn fits(&self, view: &AssemblyView) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|text| text == value);
        let state = match self.state.as_str() {
            "all" => true,
            "archived" => view.archived,
            "published" => !view.archived && view.published.is_some(),
            "draft" => !view.archived && view.published.is_none(),
            _ => !view.archived,
        };
        let site = |site: &String| {
            view.sites
                .as_ref()
                .is_none_or(|sites| sites.iter().any(|s| s.as_str() == site))
        };
        state
            && is(&self.category, &view.category)
            && is(&self.language, view.language.as_str())
            && self.tag.as_ref().is_none_or(|tag| view.tags.contains(tag))
            && self.site.as_ref().is_none_or(site)
    }

    /// Returns the words that do not stand in what lists show.
    fn left(&self, view: &AssemblyView) -> Vec<&String> {
        let tags: Vec<&str> = view.tags.iter().map(String::as_str).collect();
        let text = [view.name.as_str(), &view.description, &view.category, &tags.join(" ")]
            .join("\n")
            .to_lowercase();
        self.words.iter().filter(|word| !text.contains(word.as_str())).collect()
    }
}

/// Returns about how long an item is in the answer.
fn size(view: &AssemblyView) -> usize {
    let tags: usize = view.tags.iter().map(|tag| tag.len() + 8).sum();
    let sites = view.sites.as_ref().map_or(0, |sites| sites.len() * 48);
    view.description.len() * 2 + tags + sites + 1_024
}

fn place(view: &AssemblyView) -> String {
    format!("{} {}", view.name.to_lowercase(), view.assembly)
}

impl Library {
    /// Lists the assemblies that the caller's right reaches, by name.
    ///
    /// Errors: `invalid_field`, `storage_failed`.
    pub async fn assemblies_list(self: Arc<Self>, ctx: OperatorCtx) -> Reply<Page<AssemblyView>> {
        let filter = Filter::read(&ctx)?;
        let limit = match ctx.call.query("limit").filter(|text| !text.is_empty()) {
            None => PAGE,
            Some(text) => {
                let parsed = text.parse::<usize>();
                parsed.map_err(|_| WireError::new(Code::InvalidField, "limit is no number"))?
            }
        };
        let limit = limit.clamp(1, MAX_PAGE);
        let mut views: Vec<AssemblyView> = {
            let catalogue = self.catalogue.read();
            let seen = catalogue
                .all()
                .filter(|(_, state)| sees(&ctx.caller, Right::LibraryRead, sites_of(state)));
            seen.filter_map(|(id, state)| view(id, state)).collect()
        };
        views.retain(|view| filter.fits(view));
        views.sort_by_cached_key(place);
        let behind = ctx.call.query("cursor").filter(|text| !text.is_empty());
        let mut items: Vec<AssemblyView> = Vec::new();
        let mut more = false;
        let mut bytes = 0;
        for view in views {
            if behind.as_ref().is_some_and(|behind| place(&view) <= *behind) || !self.has_words(&filter, &view).await? {
                continue;
            }
            bytes += size(&view);
            if items.len() == limit || (bytes > PAGE_BYTES && !items.is_empty()) {
                more = true;
                break;
            }
            items.push(view);
        }
        Ok(Page {
            next_cursor: items.last().filter(|_| more).map(place),
            items,
            total: None,
        })
    }

    async fn has_words(&self, filter: &Filter, view: &AssemblyView) -> Reply<bool> {
        let left = filter.left(view);
        if left.is_empty() || !filter.in_scripts {
            return Ok(left.is_empty());
        }
        let script = self.content(view.latest_digest).await?.script.to_lowercase();
        Ok(left.iter().all(|word| script.contains(word.as_str())))
    }
}
