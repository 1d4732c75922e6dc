//! Parts of the broker that benches, fuzz targets, tests and the command of this
//! repository use one by one. They change with any release: nobody else may rely on them.

pub use crate::broker::random;
pub use crate::budget::Budget;
pub use crate::config::ShardConfig;
pub use crate::connection::CONNECTION_BYTES;
pub use crate::copies::Copies;
pub use crate::inbound::{Buffer, Inbound, Run, Step};
pub use crate::link_request::encode as encode_link_request;
pub use crate::log::LogCounts;
pub use crate::outbound::Outbound;
pub use crate::population::{MAX_SILENT_PER_USER, MAX_TOLD};
pub use crate::pulse::Watch;
pub use crate::returning::{Listening, MAX_HOLD, Record};
pub use crate::routes::{CacheShare, Effort, Routes};
pub use crate::target::{ShardId, Target};
pub use crate::trie::Trie;
pub use crate::trie::search::Search;
