//! Genesys Cloud regions, as their API domains.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

/// The official regions: domain, AWS region, and the short name Genesys derives from it.
///
/// Source: Genesys Cloud Resource Center, "AWS regions for Genesys Cloud deployment".
pub const REGIONS: [(&str, &str, &str); 17] = [
    ("mypurecloud.com", "us-east-1", "use1"),
    ("use2.us-gov-pure.cloud", "us-east-2", "use2"),
    ("usw2.pure.cloud", "us-west-2", "usw2"),
    ("cac1.pure.cloud", "ca-central-1", "cac1"),
    ("mxc1.pure.cloud", "mx-central-1", "mxc1"),
    ("sae1.pure.cloud", "sa-east-1", "sae1"),
    ("mypurecloud.ie", "eu-west-1", "euw1"),
    ("euw2.pure.cloud", "eu-west-2", "euw2"),
    ("mypurecloud.de", "eu-central-1", "euc1"),
    ("euc2.pure.cloud", "eu-central-2", "euc2"),
    ("mec1.pure.cloud", "me-central-1", "mec1"),
    ("aps1.pure.cloud", "ap-south-1", "aps1"),
    ("apse1.pure.cloud", "ap-southeast-1", "apse1"),
    ("mypurecloud.com.au", "ap-southeast-2", "apse2"),
    ("mypurecloud.jp", "ap-northeast-1", "apne1"),
    ("apne2.pure.cloud", "ap-northeast-2", "apne2"),
    ("apne3.pure.cloud", "ap-northeast-3", "apne3"),
];

/// One of [`REGIONS`], by its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(&'static str);

impl Region {
    /// The domain, such as `mypurecloud.de`.
    #[must_use]
    pub const fn domain(self) -> &'static str {
        self.0
    }
}

impl FromStr for Region {
    type Err = Invalid;

    /// Accepts the domain, the AWS region (`ap-south-1`) and its short name (`aps1`), in any case.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = |name: &str| name.eq_ignore_ascii_case(text);
        REGIONS
            .iter()
            .find(|(domain, aws, short)| known(domain) || known(aws) || known(short))
            .map(|(domain, ..)| Self(domain))
            .ok_or_else(|| {
                Invalid::new(
                    "region",
                    "must be a Genesys Cloud domain (such as mypurecloud.de or aps1.pure.cloud) or its AWS region (ap-south-1, aps1)",
                )
            })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_domain() {
        for (domain, aws, short) in REGIONS {
            for name in [domain, aws, short, &domain.to_uppercase()] {
                assert_eq!(name.parse::<Region>().unwrap().domain(), domain);
            }
        }
        assert!("mypurecloud.example".parse::<Region>().is_err());
    }
}
