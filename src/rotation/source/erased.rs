//! Every [`KeySource`] as an [`ErasedSource`].

use std::sync::Arc;

use crate::keyring::erased_source::{ErasedSource, Loading};
use crate::rotation::source::KeySource;

impl<S: KeySource> ErasedSource for S {
    fn describe(&self) -> String {
        KeySource::describe(self)
    }

    fn load(self: Arc<Self>) -> Loading {
        Box::pin(async move { KeySource::load(&*self).await })
    }
}
