#include "app/server_options.h"

#include <filesystem>

#include <unistd.h>

#include "base/encoding.h"

namespace pinion::app {

void ServerOptions::Declare(Options& options) {
  const auto add = [&](std::string_view name, auto& value, std::string_view doc,
                       std::string_view value_name = "", bool secret = false) {
    options.Add({.name = name, .doc = doc, .value_name = value_name, .secret = secret, .env = true},
                value);
  };
  add("state-dir", state_dir, "folder of the database, build logs, keys and the worker", "DIR");
  add("build-log-dir", build_log_dir,
      "folder of build logs that all servers of one database share; each has its own if not given",
      "DIR");
  add("bind-ip", bind_ip, "address that the web server listens on", "IP");
  add("bind-port", bind_port, "port that the web server listens on; 0 takes a free one", "PORT");
  add("external-url", external_url, "URL under which users reach this server", "URL");
  add("log-level", log_level, "debug, info, warn, error or off", "LEVEL");
  add("cluster-name", cluster_name, "name of this installation, shown to users", "NAME");

  add("add-local-user", local_users, "a user who logs in by password; repeatable", "NAME:PASSWORD",
      true);
  add("main-team-local-user", main_team_local_users, "an owner of the main team; repeatable",
      "NAME");
  add("auth-duration", auth_duration, "how long a login lasts");
  add("cookie-secure", cookie_secure, "send login cookies over HTTPS only");

  add("database-url", database_url,
      "database, as sqlite:PATH or postgres://…; SQLite below the state folder if not given", "URL",
      true);
  add("postgres-host", postgres_host, "use PostgreSQL on this host", "HOST");
  add("postgres-port", postgres_port, "port of PostgreSQL", "PORT");
  add("postgres-socket", postgres_socket, "use PostgreSQL through this socket's folder", "DIR");
  add("postgres-user", postgres_user, "user at PostgreSQL", "NAME");
  add("postgres-password", postgres_password, "password at PostgreSQL", "PASSWORD", true);
  add("postgres-database", postgres_database, "name of the database", "NAME");
  add("postgres-sslmode", postgres_sslmode, "disable, require, verify-ca or verify-full", "MODE");
  add("api-max-conns", api_max_conns, "database connections for the API");
  add("backend-max-conns", backend_max_conns, "database connections for builds and checks");

  add("resource-checking-interval", resource_checking_interval,
      "time between checks of a resource that says nothing else");
  add("resource-with-webhook-checking-interval", resource_with_webhook_checking_interval,
      "the same for resources with a webhook");
  add("global-resource-check-timeout", global_resource_check_timeout, "time limit of a check");
  add("enable-global-resources", global_resources,
      "resources of equal type and source share their versions and are checked once for all");

  add("default-build-logs-to-retain", default_build_logs,
      "builds of a job whose logs are kept when the job says nothing; 0 all", "N");
  add("max-build-logs-to-retain", max_build_logs, "the most that a job may keep; 0 no limit", "N");
  add("default-days-to-retain-build-logs", default_log_days,
      "days that logs are kept when the job says nothing; 0 for ever", "N");
  add("max-days-to-retain-build-logs", max_log_days,
      "the longest that a job may keep them; 0 no limit", "N");
  add("one-off-build-retention", one_off_retention,
      "how long builds without a job and their logs are kept; 0 for ever");
  add("change-feed-retention", change_retention, "how long the feed of changes is kept");
  add("gc-interval", gc_interval,
      "how often is looked for what no event told of, and for what has become old enough to go");
  add("gc-one-off-grace-period", one_off_grace,
      "how long containers of builds without a job stay after the build's end");
  add("gc-hijack-grace-period", hijack_grace,
      "how long a container stays after somebody entered it");
  add("gc-failed-grace-period", failed_grace,
      "how long containers of a job's last failed build stay; 0 until its next ends");
  add("gc-missing-grace-period", missing_grace,
      "how long a container or volume that its worker lacks is remembered");
  add("gc-artifact-grace-period", artifact_grace, "how long uploads and kept outputs stay");
  add("gc-unused-cache-grace-period", unused_cache_grace,
      "how long a resource's fetched version stays on a worker after its last use");
  add("gc-unused-scope-grace-period", unused_scope_grace,
      "how long versions stay that no resource is checked for");
  add("worker-cache-budget", cache_budget,
      "unused caches go, the least recently used first, while more of a worker's disk is in use; "
      "0 never",
      "PERCENT");

  add("worker-work-dir", worker_work_dir, "folder of containers and volumes", "DIR");
  add("worker-name", worker_name, "name of the local worker; the host's name if not given", "NAME");
  add("worker-tag", worker_tags, "tag of the local worker; repeatable", "TAG");
  add("worker-team", worker_team, "team that the local worker belongs to; all if not given",
      "TEAM");
  add("worker-resource-types", worker_resource_types,
      "folder of resource types (rootfs archive and resource_metadata.json each)", "DIR");
  add("worker-runtime", worker_runtime, "program that starts containers: crun or runc", "NAME");
  add("worker-containerd-network-pool", worker_network_pool, "addresses of containers", "CIDR");
  add("worker-containerd-dns-server", worker_dns_servers,
      "name server for containers; the host's if not given; repeatable", "IP");
  add("worker-containerd-allow-host-access", worker_allow_host_access,
      "let containers reach this host's own addresses");
  add("worker-containerd-restricted-network", worker_restricted_networks,
      "network that containers cannot reach; repeatable", "CIDR");
  add("worker-container-processes", worker_container_processes,
      "processes and threads that a container may have; 0: any number");
  add("worker-container-disk", worker_container_disk,
      "what a container may write to disk; half of the disk if not given");
  add("worker-container-files", worker_container_files,
      "files that a container may write to disk; half of the disk's if not given");
  add("worker-container-write-rate", worker_container_write_rate,
      "what a container may write to disk in a second; any amount if not given");
  add("worker-fair-cpu", worker_fair_cpu,
      "let containers that use more than their fair part of the CPUs run behind the others");
  add("worker-containers-memory", worker_containers_memory,
      "memory of all containers together; the machine's less a tenth if not given");

  add("max-build-log-size", max_build_log_size,
      "what a build may print, then its step errs; 0: any amount");
  add("default-task-cpu-limit", default_task_cpu_limit,
      "CPU shares of tasks that name none; 1024 are customary", "SHARES");
  add("default-task-memory-limit", default_task_memory_limit,
      "memory of tasks that name none; any amount if not given");
}

void ServerOptions::ResolveFolders() {
  for (std::string* folder :
       {&state_dir, &build_log_dir, &worker_work_dir, &worker_resource_types}) {
    if (!folder->empty()) *folder = std::filesystem::absolute(*folder).lexically_normal();
  }
}

std::string ServerOptions::DatabaseUrl() const {
  if (!database_url.empty()) return database_url;
  if (postgres_host.empty() && postgres_socket.empty()) {
    return "sqlite:" + state_dir + "/pinion.sqlite";
  }
  std::string url = "postgres://";
  if (!postgres_user.empty()) {
    url += PercentEncode(postgres_user);
    if (!postgres_password.empty()) url += ":" + PercentEncode(postgres_password);
    url += "@";
  }
  url += PercentEncode(postgres_socket.empty() ? postgres_host : postgres_socket);
  url += ":" + std::to_string(postgres_port) + "/" + PercentEncode(postgres_database);
  return url + "?sslmode=" + PercentEncode(postgres_sslmode);
}

std::string ServerOptions::WorkDir() const {
  return worker_work_dir.empty() ? state_dir + "/worker" : worker_work_dir;
}

std::string ServerOptions::ExternalUrl(int port) const {
  if (!external_url.empty()) {
    return external_url.ends_with('/') ? external_url.substr(0, external_url.size() - 1)
                                       : external_url;
  }
  const std::string host = bind_ip == "0.0.0.0" || bind_ip == "::" ? "127.0.0.1" : bind_ip;
  return "http://" + (host.contains(':') ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace pinion::app
