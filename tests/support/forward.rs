//! A store around another one: the calls that it only passes on.

/// `forward!(inner: standing, sessions)`, in an `impl ClaimsStore`, passes these calls on to the field `inner`.
macro_rules! forward {
    ($inner:tt: $($call:ident),+) => { $( $crate::support::forward!(@$call $inner); )+ };
    (@standing $inner:tt) => {
        async fn standing(
            &self,
            presented: &tower_reissue::store::Presented,
        ) -> Result<tower_reissue::store::Standing, tower_reissue::store::StoreError> {
            self.$inner.standing(presented).await
        }
    };
    (@standing_now $inner:tt) => {
        fn standing_now(
            &self,
            presented: &tower_reissue::store::Presented,
        ) -> Option<tower_reissue::store::Standing> {
            self.$inner.standing_now(presented)
        }
    };
    (@epoch $inner:tt) => {
        fn epoch(&self) -> Option<u64> {
            self.$inner.epoch()
        }
    };
    (@rotate $inner:tt) => {
        async fn rotate(
            &self,
            rotation: tower_reissue::store::Rotation,
        ) -> Result<tower_reissue::store::Rotated, tower_reissue::store::StoreError> {
            self.$inner.rotate(rotation).await
        }
    };
    (@revoke $inner:tt) => {
        async fn revoke(
            &self,
            revocation: tower_reissue::store::Revocation,
            retention: tower_reissue::store::Retention,
        ) -> Result<(), tower_reissue::store::StoreError> {
            self.$inner.revoke(revocation, retention).await
        }
    };
    (@sessions $inner:tt) => {
        async fn sessions(
            &self,
            subject: tower_reissue::store::SubjectId,
            now: tower_reissue::NumericDate,
            page: tower_reissue::store::Page,
        ) -> Result<tower_reissue::store::SessionPage, tower_reissue::store::StoreError> {
            self.$inner.sessions(subject, now, page).await
        }
    };
    (@horizon $inner:tt) => {
        async fn horizon(
            &self,
            need: tower_reissue::store::Horizon,
        ) -> Result<tower_reissue::store::StoreHorizon, tower_reissue::store::StoreError> {
            self.$inner.horizon(need).await
        }
    };
    (@horizon_now $inner:tt) => {
        fn horizon_now(
            &self,
            need: tower_reissue::store::Horizon,
        ) -> Option<tower_reissue::store::StoreHorizon> {
            self.$inner.horizon_now(need)
        }
    };
    (@raise_horizon $inner:tt) => {
        async fn raise_horizon(
            &self,
            to: tower_reissue::store::Horizon,
            now: tower_reissue::NumericDate,
        ) -> Result<(), tower_reissue::store::StoreError> {
            self.$inner.raise_horizon(to, now).await
        }
    };
}
pub(crate) use forward;
