-- Containers and volumes outlive the builds, scopes and teams they were made for: their rows say what is still to be
-- destroyed on a worker. A task cache goes with its job.

create table kept_containers as select * from containers;
create table kept_volumes as select * from volumes;
drop table volumes;
drop table containers;

create table containers (
  handle text primary key,
  worker_name text not null references workers (name) on delete cascade,
  team_id bigint references teams (id) on delete set null,
  build_id bigint references builds (id) on delete set null,
  scope_id bigint references scopes (id) on delete set null,       -- check containers
  plan_id text not null default '',
  step_name text not null default '',
  type text not null,                          -- get, put, task, check, run
  attempt text not null default '',            -- "1.2", outermost retry first
  state text not null,                         -- creating, created, destroying
  created_at bigint not null,
  missing_since bigint,
  hijacked_at bigint,
  metadata text not null default '{}'          -- names of pipeline, job, build, user, working directory
);
create index containers_build on containers (build_id);
create index containers_worker on containers (worker_name, state);
create index containers_scope on containers (scope_id);
create index containers_team on containers (team_id);

create table volumes (
  handle text primary key,
  worker_name text not null references workers (name) on delete cascade,
  team_id bigint references teams (id) on delete set null,
  container_handle text references containers (handle) on delete set null,
  path text not null default '',               -- where the container sees it
  type text not null,                          -- container, resource, resource-type, task-cache, artifact, resource-certs
  resource_cache_id bigint references resource_caches (id) on delete set null,
  task_cache_key text,
  task_cache_job_id bigint references jobs (id) on delete set null,
  parent_handle text,
  state text not null,                         -- creating, created, destroying
  created_at bigint not null,
  missing_since bigint
);
create index volumes_worker on volumes (worker_name, state);
create index volumes_container on volumes (container_handle);
create index volumes_parent on volumes (parent_handle) where parent_handle is not null;
create unique index volumes_resource_cache on volumes (worker_name, resource_cache_id)
  where resource_cache_id is not null;
create unique index volumes_task_cache on volumes (worker_name, task_cache_key)
  where task_cache_key is not null;
create index volumes_cache on volumes (resource_cache_id) where resource_cache_id is not null;
create index volumes_task_cache_job on volumes (task_cache_job_id) where task_cache_job_id is not null;
create index volumes_team on volumes (team_id);

insert into containers (handle, worker_name, team_id, build_id, scope_id, plan_id, step_name, type, attempt, state,
    created_at, missing_since, hijacked_at, metadata)
  select handle, worker_name, team_id, build_id, scope_id, plan_id, step_name, type, attempt, state, created_at,
    missing_since, hijacked_at, metadata from kept_containers;
insert into volumes (handle, worker_name, team_id, container_handle, path, type, resource_cache_id, task_cache_key,
    parent_handle, state, created_at, missing_since)
  select handle, worker_name, team_id, container_handle, path, type, resource_cache_id, task_cache_key, parent_handle,
    state, created_at, missing_since from kept_volumes;
drop table kept_volumes;
drop table kept_containers;

-- What is kept for a time, found without looking at what has been given up or is no business of it.
create index builds_logged on builds (job_id, id) where reap_time is null;
create index builds_jobless on builds (end_time) where job_id is null;
alter table scopes add column created_at bigint not null default 0;
