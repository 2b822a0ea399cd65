//! [`ErasedSource`]: a source of keys, whatever its type.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;

pub(crate) type Loading = Pin<Box<dyn Future<Output = Result<KeySet, KeyError>> + Send>>;

/// The object-safe form of [`KeySource`](crate::keys::KeySource). The future owns its source, because a load can outlive the borrow
/// of its manager.
pub(crate) trait ErasedSource: Send + Sync + 'static {
    fn describe(&self) -> String;
    fn load(self: Arc<Self>) -> Loading;
}
