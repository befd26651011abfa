//! Where a pass stands between two side effects, told to whoever asked for it: a test that kills the process there.
//!
//! The driver tells of every gap; nobody has to remember to. The operator's own binary asks for nothing
//! ([`Gaps::untold`]).

use super::step::{Step, Verdict};

/// One enum and the list of its variants, so that none can be left out of the list.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])? $kind:ident),* $(,)?) => {
        /// What kind of step it is: a [`Step`] with a record told apart by what it says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Kind { $($(#[doc = $doc])? $kind),* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),* }
            }
        }
    };
}

kinds! {
    ReadLive,
    ReadSecrets,
    ReadDefinition,
    TakePermit,
    Claim,
    AddFinalizer,
    Create,
    Get,
    Replace,
    Delete,
    DeleteStray,
    Adopt,
    RecordInOrder,
    RecordSuspended,
    RecordInvalidSpec,
    RecordSecret,
    RecordCredential,
    RecordTenantMismatch,
    RecordDuplicateClaim,
    RecordNameTaken,
    RecordAdoptionRefused,
    RecordDriftReported,
    RecordFlapping,
    RecordRefused,
    RecordOutcomeUnknown,
    RecordAdopted,
    DropFinalizer,
}

impl Kind {
    /// The kind of a step; none where the pass ends.
    #[must_use]
    pub const fn of(step: Step) -> Option<Self> {
        let kind = match step {
            Step::ReadLive => Self::ReadLive,
            Step::ReadSecrets => Self::ReadSecrets,
            Step::ReadDefinition => Self::ReadDefinition,
            Step::TakePermit => Self::TakePermit,
            Step::Claim => Self::Claim,
            Step::AddFinalizer => Self::AddFinalizer,
            Step::Create => Self::Create,
            Step::Get => Self::Get,
            Step::Replace => Self::Replace,
            Step::Delete => Self::Delete,
            Step::DeleteStray => Self::DeleteStray,
            Step::Adopt => Self::Adopt,
            Step::DropFinalizer => Self::DropFinalizer,
            Step::Record(verdict) => match verdict {
                Verdict::InOrder => Self::RecordInOrder,
                Verdict::Suspended => Self::RecordSuspended,
                Verdict::InvalidSpec => Self::RecordInvalidSpec,
                Verdict::Secret(_) => Self::RecordSecret,
                Verdict::Credential(_) => Self::RecordCredential,
                Verdict::TenantMismatch => Self::RecordTenantMismatch,
                Verdict::DuplicateClaim => Self::RecordDuplicateClaim,
                Verdict::NameTaken => Self::RecordNameTaken,
                Verdict::AdoptionRefused => Self::RecordAdoptionRefused,
                Verdict::DriftReported => Self::RecordDriftReported,
                Verdict::Flapping => Self::RecordFlapping,
                Verdict::Refused(_) => Self::RecordRefused,
                Verdict::OutcomeUnknown => Self::RecordOutcomeUnknown,
                Verdict::Adopted => Self::RecordAdopted,
                // Never recorded, as `Verdict::is_recorded` says.
                Verdict::List
                | Verdict::Token
                | Verdict::Permit
                | Verdict::Delay
                | Verdict::Kube
                | Verdict::Leader
                | Verdict::Released => return None,
            },
            Step::Done(_) => return None,
        };
        Some(kind)
    }
}

/// Between two side effects for one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// `namespace/name`
    pub resource: &'a str,
    /// What has just been done; nothing where the pass begins.
    pub after: Option<Kind>,
    /// What would be done next; nothing where the pass ends.
    pub before: Option<Kind>,
}

/// Who is told.
#[derive(Clone, Copy, Debug)]
pub struct Gaps(Option<fn(&Gap<'_>)>);

impl Gaps {
    /// Nobody.
    #[must_use]
    pub const fn untold() -> Self {
        Self(None)
    }

    /// This function, which is called between the two side effects.
    #[must_use]
    pub const fn told(to: fn(&Gap<'_>)) -> Self {
        Self(Some(to))
    }

    /// The pass stands between these two.
    pub(super) fn stand(self, resource: &str, after: Option<Step>, before: Option<Step>) {
        if let Some(to) = self.0 {
            to(&Gap { resource, after: after.and_then(Kind::of), before: before.and_then(Kind::of) });
        }
    }
}
