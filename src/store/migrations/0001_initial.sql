-- One text for SQLite and PostgreSQL. {id} is the dialect's automatic primary key. Booleans are 0/1,
-- times are unix seconds, JSON is text. Every foreign key that a delete follows has an index.

create table teams (
  id {id},
  name text not null unique,
  admin bigint not null default 0,
  auth text not null default '{}'              -- {role: {"users": [...], "groups": [...]}}
);

create table users (
  id {id},
  sub text not null unique,                    -- connector and user, as in tokens
  username text not null,
  connector text not null,
  last_login bigint not null
);

create table pipelines (
  id {id},
  team_id bigint not null references teams (id) on delete cascade,
  name text not null,
  instance_vars text not null default '',      -- JSON with sorted keys, '' for none
  config text not null,                        -- normal form, JSON
  config_version bigint not null,              -- grows with each set-pipeline
  paused bigint not null default 1,
  paused_by text,
  paused_at bigint,
  public bigint not null default 0,
  archived bigint not null default 0,
  ordering bigint not null default 0,
  secondary_ordering bigint not null default 0,
  last_updated bigint not null,
  parent_job_id bigint,
  parent_build_id bigint,
  unique (team_id, name, instance_vars)
);
create index pipelines_parent_job on pipelines (parent_job_id);

create table jobs (
  id {id},
  pipeline_id bigint not null references pipelines (id) on delete cascade,
  name text not null,
  config text not null,
  active bigint not null default 1,
  paused bigint not null default 0,
  paused_by text,
  paused_at bigint,
  ordering bigint not null default 0,
  build_number bigint not null default 0,      -- of the newest build
  has_new_inputs bigint not null default 0,
  inputs_determined bigint not null default 0, -- next_inputs holds a version for every input
  latest_completed_build_id bigint,
  next_build_id bigint,
  transition_build_id bigint,
  unique (pipeline_id, name)
);

create table job_serial_groups (
  job_id bigint not null references jobs (id) on delete cascade,
  serial_group text not null,
  primary key (job_id, serial_group)
);

-- One distinct (type, source): what is checked, and what owns versions.
create table scopes (
  id {id},
  key text not null unique,                    -- digest over type chain and source
  type text not null,
  last_check_start bigint,
  last_check_end bigint,
  last_check_succeeded bigint,
  last_check_error text,
  last_check_build_id bigint,
  claimed_until bigint,                        -- a check runs; past this its process is dead
  next_check bigint,                           -- not before, by its interval; NULL: at once
  next_order bigint not null default 1
);

create table resources (
  id {id},
  pipeline_id bigint not null references pipelines (id) on delete cascade,
  name text not null,
  type text not null,
  config text not null,
  active bigint not null default 1,
  scope_id bigint references scopes (id),
  pinned_version text,                         -- JSON, by the configuration or by the API
  pinned_by_config bigint not null default 0,
  pin_comment text,
  ordering bigint not null default 0,
  unique (pipeline_id, name)
);
create index resources_scope on resources (scope_id);

-- What a job's get steps ask for, one row for each passed job (NULL when none), so that "who depends on
-- this" is an index look-up.
create table job_inputs (
  job_id bigint not null references jobs (id) on delete cascade,
  name text not null,
  resource_id bigint not null references resources (id) on delete cascade,
  passed_job_id bigint references jobs (id) on delete cascade,
  "trigger" bigint not null default 0,
  version text                                 -- NULL latest, 'every', or a JSON version
);
create index job_inputs_job on job_inputs (job_id);
create index job_inputs_resource on job_inputs (resource_id);
create index job_inputs_passed on job_inputs (passed_job_id);

create table job_outputs (
  job_id bigint not null references jobs (id) on delete cascade,
  name text not null,
  resource_id bigint not null references resources (id) on delete cascade
);
create index job_outputs_job on job_outputs (job_id);
create index job_outputs_resource on job_outputs (resource_id);

create table resource_types (
  id {id},
  pipeline_id bigint not null references pipelines (id) on delete cascade,
  name text not null,
  type text not null,
  config text not null,
  active bigint not null default 1,
  scope_id bigint references scopes (id),
  ordering bigint not null default 0,
  unique (pipeline_id, name)
);
create index resource_types_scope on resource_types (scope_id);

create table versions (
  id {id},
  scope_id bigint not null references scopes (id) on delete cascade,
  version text not null,                       -- JSON with sorted keys
  metadata text not null default '[]',
  check_order bigint not null,                 -- grows along the history; 0: seen by a put or get only
  unique (scope_id, version)
);
create index versions_order on versions (scope_id, check_order);

create table disabled_versions (
  resource_id bigint not null references resources (id) on delete cascade,
  version_id bigint not null references versions (id) on delete cascade,
  primary key (resource_id, version_id)
);

create table builds (
  id {id},
  name text not null,
  team_id bigint not null references teams (id) on delete cascade,
  pipeline_id bigint references pipelines (id) on delete cascade,
  job_id bigint references jobs (id) on delete cascade,
  resource_id bigint references resources (id) on delete cascade,           -- builds of checks
  resource_type_id bigint references resource_types (id) on delete cascade,
  status text not null,
  manual bigint not null default 0,
  created_by text,
  create_time bigint not null,
  start_time bigint,
  end_time bigint,
  reap_time bigint,
  aborted bigint not null default 0,
  scheduled bigint not null default 0,         -- its inputs are fixed and it waits for its turn
  inputs_ready bigint not null default 0,
  needs_check bigint not null default 0,       -- manual: resources are checked before inputs are fixed
  rerun_of bigint references builds (id) on delete cascade,
  rerun_number bigint,
  plan text,                                   -- JSON; from the start to the end of the build
  public_plan text,
  span_context text,
  comment text not null default '',
  owner_node text,                             -- who runs it, and under which lease epoch
  owner_epoch bigint
);
create unique index builds_job_name on builds (job_id, name);
create index builds_job on builds (job_id, id);
create index builds_pipeline on builds (pipeline_id, id);
create index builds_team on builds (team_id, id);
create index builds_resource on builds (resource_id);
create index builds_resource_type on builds (resource_type_id);
create index builds_rerun_of on builds (rerun_of);
-- Partial: work on what is alive does not grow with history.
create index builds_pending on builds (job_id, id) where status = 'pending';
create index builds_live on builds (job_id, id) where status in ('pending', 'started');
create index builds_started on builds (owner_node, id) where status = 'started';

create table build_inputs (
  build_id bigint not null references builds (id) on delete cascade,
  name text not null,
  resource_id bigint not null references resources (id) on delete cascade,
  version_id bigint not null references versions (id) on delete cascade,
  first_occurrence bigint not null default 0,
  primary key (build_id, name)
);
create index build_inputs_version on build_inputs (version_id, resource_id);
create index build_inputs_resource on build_inputs (resource_id);

create table build_outputs (
  build_id bigint not null references builds (id) on delete cascade,
  name text not null,
  resource_id bigint not null references resources (id) on delete cascade,
  version_id bigint not null references versions (id) on delete cascade,
  position bigint not null,                    -- in the order in which they were put
  primary key (build_id, name, version_id)
);
create index build_outputs_version on build_outputs (version_id, resource_id);
create index build_outputs_resource on build_outputs (resource_id);

-- What each succeeded build of a job had of each resource: the passed sets read this and nothing else.
create table succeeded_versions (
  job_id bigint not null references jobs (id) on delete cascade,
  build_id bigint not null references builds (id) on delete cascade,
  rerun_of bigint,                             -- orders reruns beside the build that they repeat
  resource_id bigint not null references resources (id) on delete cascade,
  version_id bigint not null references versions (id) on delete cascade,
  position bigint not null,                    -- what it put stands before what it got
  primary key (job_id, build_id, resource_id, version_id)
);
create index succeeded_versions_order on succeeded_versions (job_id, (coalesce(rerun_of, build_id)), build_id);
create index succeeded_versions_version on succeeded_versions (version_id, job_id);
create index succeeded_versions_build on succeeded_versions (build_id);
create index succeeded_versions_resource on succeeded_versions (resource_id);

-- What the next build of a job would take, as the scheduler last found it.
create table next_inputs (
  job_id bigint not null references jobs (id) on delete cascade,
  name text not null,
  resource_id bigint,
  version_id bigint,
  first_occurrence bigint not null default 0,
  error text,
  primary key (job_id, name)
);

-- Which builds of passed jobs vouched for the inputs of a build, so that `version: every` goes on after
-- them; and those of the next build, as next_inputs has its versions.
create table build_pipes (
  to_build_id bigint not null references builds (id) on delete cascade,
  from_build_id bigint not null references builds (id) on delete cascade,
  primary key (to_build_id, from_build_id)
);
create index build_pipes_from on build_pipes (from_build_id);

create table next_pipes (
  job_id bigint not null references jobs (id) on delete cascade,
  from_build_id bigint not null references builds (id) on delete cascade,
  primary key (job_id, from_build_id)
);
create index next_pipes_from on next_pipes (from_build_id);

-- What each step of a running build concluded, so that nothing that succeeded runs again after a crash.
-- Deleted when the build ends.
create table build_steps (
  build_id bigint not null references builds (id) on delete cascade,
  plan_id text not null,
  attempt bigint not null default 1,
  state text not null,                         -- started, succeeded, failed, errored
  result text not null default '{}',           -- version, artifacts, exit status: what the step leaves behind
  primary key (build_id, plan_id, attempt)
);

create table workers (
  name text primary key,
  state text not null,                         -- running, stalled, landing, landed, retiring
  platform text not null,
  tags text not null default '[]',
  team_id bigint references teams (id) on delete cascade,
  garden_addr text not null,
  baggageclaim_url text not null,
  resource_types text not null default '[]',
  version text not null default '',
  start_time bigint not null default 0,
  expires bigint,
  ephemeral bigint not null default 0,
  http_proxy_url text not null default '',
  https_proxy_url text not null default '',
  no_proxy text not null default '',
  active_containers bigint not null default 0,
  active_volumes bigint not null default 0
);

create table containers (
  handle text primary key,
  worker_name text not null references workers (name) on delete cascade,
  team_id bigint references teams (id) on delete cascade,
  build_id bigint references builds (id) on delete cascade,
  scope_id bigint references scopes (id) on delete cascade,        -- check containers
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

create table resource_caches (
  id {id},
  key text not null unique,                    -- digest over scope's key, version and params
  version text not null,
  metadata text not null default '[]',
  last_used bigint not null
);

create table volumes (
  handle text primary key,
  worker_name text not null references workers (name) on delete cascade,
  team_id bigint references teams (id) on delete cascade,
  container_handle text references containers (handle) on delete set null,
  path text not null default '',               -- where the container sees it
  type text not null,                          -- container, resource, resource-type, task-cache, artifact, resource-certs
  resource_cache_id bigint references resource_caches (id) on delete set null,
  task_cache_key text,
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

-- Which running builds use a cache: it is not collected under them.
create table resource_cache_uses (
  resource_cache_id bigint not null references resource_caches (id) on delete cascade,
  build_id bigint not null references builds (id) on delete cascade,
  primary key (resource_cache_id, build_id)
);
create index resource_cache_uses_build on resource_cache_uses (build_id);

create table artifacts (
  id {id},
  team_id bigint not null references teams (id) on delete cascade,
  name text not null,
  build_id bigint references builds (id) on delete cascade,
  worker_name text not null,
  volume_handle text not null,
  created_at bigint not null
);
create index artifacts_build on artifacts (build_id);
create index artifacts_volume on artifacts (volume_handle);

-- Committed segments of build logs; the bytes are in the log store.
create table log_segments (
  build_id bigint not null references builds (id) on delete cascade,
  segment bigint not null,
  first_event bigint not null,
  events bigint not null,
  bytes bigint not null,
  name text not null,
  primary key (build_id, segment)
);

create table components (
  name text primary key,
  role text not null,
  interval_ns bigint not null,                 -- 0: serves, does not tick
  pausable bigint not null default 1,          -- 0: without it, others would do harm
  paused bigint not null default 0,
  last_ran bigint,
  last_duration_us bigint,
  last_error text
);

-- A process holds the epochs from epoch to last_epoch: each take-over adds one, so that it is above all
-- that the dead node had. Epochs are one count for all nodes (settings: lease.epoch).
create table leases (
  node text primary key,
  epoch bigint not null,
  last_epoch bigint not null,
  counter bigint not null,                     -- grows with each renewal
  role text not null default ''
);

create table changes (
  sequence {id},
  time bigint not null,
  actor text not null default '',
  request_id text not null default '',
  kind text not null,
  object_id bigint not null,
  team_id bigint,
  data text not null default '',
  transaction_id bigint                        -- PostgreSQL: readers tell by it what they have seen
);
create index changes_transaction on changes (transaction_id, sequence);
create index changes_time on changes (time);

create table settings (                        -- keys made on first start, wall message
  name text primary key,
  value text not null
);

create table revoked_tokens (                  -- logged out before they expire
  id text primary key,
  expires bigint not null
);
