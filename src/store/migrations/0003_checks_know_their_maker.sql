-- The node that runs a scope's check: when its process ends, so does the claim. And the key of the custom type's image
-- that checked it last ('': a base type): another image's check begins from scratch.
alter table scopes add column claimed_by text;
alter table scopes add column last_check_image text not null default '';
-- The newest build when its last check ended: builds up to it know what that check found. Seconds would not tell.
alter table scopes add column last_check_newest_build bigint not null default 0;

-- Scopes that a resource was at before: what its builds had of them is looked for in its scope now, so that
-- a changed source (a rotated secret) does not make known versions new.
create table former_scopes (
  resource_id bigint not null references resources (id) on delete cascade,
  scope_id bigint not null references scopes (id) on delete cascade,
  primary key (resource_id, scope_id)
);
create index former_scopes_scope on former_scopes (scope_id);
