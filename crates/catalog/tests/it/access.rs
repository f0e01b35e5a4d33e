//! The contract of tenants, keys and the audit log, over every implementation.

use logmill_catalog::{
    Access, AuditEntry, AuditFilter, Error, KeyId, KeyState, NewKey, Reach, RetentionOverride,
    Scope, Scopes, TenantQuotas, TenantRow, issue_key,
};
use serde_json::json;

use crate::site::{Site, tenant};

/// What every implementation holds; `access` is as it is when it is new.
async fn contract(access: &dyn Access) {
    tenants(access).await;
    keys(access).await;
    audit(access).await;
}

async fn tenants(access: &dyn Access) {
    let at_first = access.list_tenants().await.unwrap();
    assert_eq!(at_first.len(), 1);
    assert_eq!(at_first[0].id, tenant("default"));
    assert_eq!(at_first[0].quotas, TenantQuotas::default());
    assert_eq!(access.tenant(&tenant("acme")).await.unwrap(), None);

    let mut acme = TenantRow::new(tenant("acme"), 5);
    access.create_tenant(&acme).await.unwrap();
    let error = access.create_tenant(&acme).await.unwrap_err();
    assert!(matches!(error, Error::TenantExists(_)), "{error:?}");
    assert_eq!(access.tenant(&acme.id).await.unwrap().as_ref(), Some(&acme));

    acme.disabled_at_ns = Some(9);
    acme.retention = RetentionOverride {
        max_age_ms: Some(0),
        max_bytes: None,
    };
    acme.quotas.columns = Some(7);
    acme.quotas.stored_bytes = Some(u64::MAX);
    access.update_tenant(&acme).await.unwrap();
    assert_eq!(access.tenant(&acme.id).await.unwrap().as_ref(), Some(&acme));
    let stranger = TenantRow::new(tenant("nobody"), 5);
    let error = access.update_tenant(&stranger).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTenant(_)), "{error:?}");
    assert_eq!(
        access.list_tenants().await.unwrap(),
        [acme, at_first[0].clone()]
    );
}

async fn keys(access: &dyn Access) {
    let new = |reach: Reach, expires_at_ns| NewKey {
        reach,
        name: "collector ö".to_owned(),
        scopes: [Scope::Ingest, Scope::Query].into_iter().collect(),
        expires_at_ns,
    };
    let acme = || Reach::Tenant(tenant("acme"));
    let (key, row) = issue_key(access, new(acme(), Some(100)), 10).await.unwrap();
    let (other, other_row) = issue_key(access, new(Reach::All, None), 11).await.unwrap();
    assert_eq!(access.key(&key.id()).await.unwrap().as_ref(), Some(&row));
    assert!(row.is_of(&key) && !row.is_of(&other));
    assert_eq!(
        [row.state(99), row.state(100)],
        [KeyState::Valid, KeyState::Expired]
    );
    assert_eq!(
        access.list_keys(None).await.unwrap(),
        [row.clone(), other_row.clone()]
    );
    assert_eq!(
        access.list_keys(Some(&tenant("acme"))).await.unwrap(),
        std::slice::from_ref(&row)
    );
    assert!(
        access
            .list_keys(Some(&tenant("x")))
            .await
            .unwrap()
            .is_empty()
    );

    for wrong in [
        new(Reach::Tenant(tenant("nobody")), None),
        new(acme(), Some(10)),
        NewKey {
            scopes: Scopes::default(),
            ..new(acme(), None)
        },
        NewKey {
            name: String::new(),
            ..new(acme(), None)
        },
        NewKey {
            name: "two\nlines".to_owned(),
            ..new(acme(), None)
        },
    ] {
        assert!(
            issue_key(access, wrong.clone(), 10).await.is_err(),
            "{wrong:?}"
        );
    }
    assert_eq!(access.list_keys(None).await.unwrap().len(), 2);

    let unknown = KeyId("nobody".to_owned());
    let used = [
        (key.id(), 50),
        (key.id(), 40),
        (unknown.clone(), 60),
        (other.id(), 20),
    ];
    access.touch_keys(&used).await.unwrap();
    let last_used = |row: Option<logmill_catalog::KeyRow>| row.unwrap().last_used_at_ns;
    assert_eq!(last_used(access.key(&key.id()).await.unwrap()), Some(50));
    assert_eq!(last_used(access.key(&other.id()).await.unwrap()), Some(20));

    assert!(access.revoke_key(&key.id(), 70).await.unwrap());
    assert!(access.revoke_key(&key.id(), 80).await.unwrap());
    assert!(!access.revoke_key(&unknown, 80).await.unwrap());
    let revoked = access.key(&key.id()).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at_ns, Some(70));
    assert_eq!(revoked.state(60), KeyState::Revoked);
    assert_eq!(access.key(&unknown).await.unwrap(), None);
}

fn entry(at_ns: i64, actor: &str, about: Option<&str>, action: &str) -> AuditEntry {
    AuditEntry {
        at_ns,
        actor: actor.to_owned(),
        tenant: about.map(tenant),
        action: action.to_owned(),
        target: "t".to_owned(),
        detail: json!({"n": at_ns}),
        remote_address: Some("10.0.0.1".to_owned()),
        request_id: None,
        outcome: "ok".to_owned(),
    }
}

async fn audit(access: &dyn Access) {
    let entries = [
        entry(10, "key:a", Some("acme"), "key.create"),
        entry(20, "key:a", None, "flush"),
        entry(30, "key:b", Some("acme"), "key.create"),
        entry(40, "key:b", Some("beta"), "key.revoke"),
    ];
    access.append_audit(&entries[..1]).await.unwrap();
    access.append_audit(&entries[1..]).await.unwrap();
    let found = async |filter: AuditFilter| -> Vec<i64> {
        let rows = access.audit(&filter).await.unwrap();
        rows.iter().map(|row| row.entry.at_ns).collect()
    };
    let all = access.audit(&AuditFilter::default()).await.unwrap();
    assert_eq!(all[0].entry, entries[3]);
    assert_eq!(found(AuditFilter::default()).await, [40, 30, 20, 10]);
    let of_acme = AuditFilter {
        tenant: Some(tenant("acme")),
        ..AuditFilter::default()
    };
    assert_eq!(found(of_acme).await, [30, 10]);
    let of_b = AuditFilter {
        actor: Some("key:b".to_owned()),
        action: Some("key.create".to_owned()),
        ..AuditFilter::default()
    };
    assert_eq!(found(of_b).await, [30]);
    let between = AuditFilter {
        from_ns: 20,
        to_ns: 40,
        ..AuditFilter::default()
    };
    assert_eq!(found(between).await, [30, 20]);
    let page = AuditFilter {
        before_id: Some(all[1].id),
        limit: 1,
        ..AuditFilter::default()
    };
    assert_eq!(found(page).await, [20]);

    assert_eq!(access.trim_audit(20, 10).await.unwrap(), 1);
    assert_eq!(access.trim_audit(0, 2).await.unwrap(), 1);
    assert_eq!(found(AuditFilter::default()).await, [40, 30]);
}

pub(crate) async fn tenants_keys_and_the_audit_log_are_kept(site: Site) {
    contract(site.access().await.as_ref()).await;
    let again = site.access().await;
    assert_eq!(again.list_tenants().await.unwrap().len(), 2);
    assert_eq!(again.list_keys(None).await.unwrap().len(), 2);
}

pub(crate) async fn a_second_process_makes_a_key_beside_a_busy_one(site: Site) {
    let (server, other) = (site.access().await, site.access().await);
    let new = NewKey {
        reach: Reach::All,
        name: "first".to_owned(),
        scopes: Scopes::all(),
        expires_at_ns: None,
    };
    let writing = async {
        for at_ns in 0..50 {
            let one = [entry(at_ns, "key:a", None, "flush")];
            server.append_audit(&one).await.unwrap();
        }
    };
    let ((), made) = tokio::join!(writing, issue_key(other.as_ref(), new, 1));
    let (key, row) = made.unwrap();
    assert_eq!(server.key(&key.id()).await.unwrap(), Some(row));
}
