//! The object-safe twin of [`KeySource`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;
use crate::rotation::source::KeySource;

pub(crate) type Loading = Pin<Box<dyn Future<Output = Result<KeySet, KeyError>> + Send>>;

/// The future owns its source, for a load outlives the borrow of its manager.
pub(crate) trait ErasedSource: Send + Sync + 'static {
    fn describe(&self) -> String;
    fn load(self: Arc<Self>) -> Loading;
}

impl<S: KeySource> ErasedSource for S {
    fn describe(&self) -> String {
        KeySource::describe(self)
    }

    fn load(self: Arc<Self>) -> Loading {
        Box::pin(async move { KeySource::load(&*self).await })
    }
}
