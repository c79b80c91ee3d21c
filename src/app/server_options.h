#pragma once

#include <string>
#include <vector>

#include "base/options.h"

namespace pinion::app {

/// Options of the server commands; each is declared once, in server_options.cc. Names and variables
/// are upstream's wherever upstream has the option.
struct ServerOptions {
  std::string state_dir = "/var/lib/pinion";
  std::string bind_ip = "127.0.0.1";
  int bind_port = 8080;
  std::string external_url;
  std::string log_level = "info";
  std::string cluster_name;
  std::string build_log_dir;  ///< empty: below the state folder, this server's alone

  std::vector<std::string> local_users;  ///< NAME:PASSWORD, the password plain or bcrypt
  std::vector<std::string> main_team_local_users;
  Duration auth_duration = std::chrono::hours(24);
  bool cookie_secure = false;

  std::string database_url;  ///< empty: SQLite below the state folder
  std::string postgres_host;
  int postgres_port = 5432;
  std::string postgres_socket;
  std::string postgres_user;
  std::string postgres_password;
  std::string postgres_database = "atc";
  std::string postgres_sslmode = "disable";
  int api_max_conns = 4;
  int backend_max_conns = 4;

  Duration resource_checking_interval = std::chrono::minutes(1);
  Duration resource_with_webhook_checking_interval = std::chrono::minutes(1);
  Duration global_resource_check_timeout = std::chrono::hours(1);
  bool global_resources = false;

  int default_build_logs = 0;
  int max_build_logs = 0;
  int default_log_days = 0;
  int max_log_days = 0;
  Duration one_off_retention = std::chrono::hours(30 * 24);
  Duration change_retention = std::chrono::hours(30 * 24);
  Duration gc_interval = std::chrono::minutes(1);
  Duration one_off_grace = std::chrono::minutes(5);
  Duration hijack_grace = std::chrono::minutes(5);
  Duration failed_grace = std::chrono::hours(120);
  Duration missing_grace = std::chrono::minutes(5);
  Duration artifact_grace = std::chrono::hours(12);
  Duration unused_cache_grace = std::chrono::hours(7 * 24);
  Duration unused_scope_grace = std::chrono::minutes(65);
  int cache_budget = 80;  ///< percent of the worker's disk

  std::string worker_work_dir;  ///< empty: below the state folder
  std::string worker_name;
  std::vector<std::string> worker_tags;
  std::string worker_team;
  std::string worker_resource_types;
  std::string worker_runtime;
  std::string worker_network_pool;
  std::vector<std::string> worker_dns_servers;
  bool worker_allow_host_access = false;
  bool worker_fair_cpu = true;
  std::vector<std::string> worker_restricted_networks;
  int worker_container_processes = 4096;
  ByteSize worker_container_disk;
  int worker_container_files = 0;
  ByteSize worker_container_write_rate;
  ByteSize worker_containers_memory;

  ByteSize max_build_log_size{4LL << 30};
  int default_task_cpu_limit = 0;
  ByteSize default_task_memory_limit;

  /// Adds every option to `options`; `this` must outlive its use.
  void Declare(Options& options);
  /// Makes folders absolute; after the options were read. Supervisors of containers work in folders
  /// of their own.
  void ResolveFolders();
  /// libpq's URL or SQLite's, from whatever was given.
  std::string DatabaseUrl() const;
  std::string WorkDir() const;
  /// The public URL: as given, or made of address and port.
  std::string ExternalUrl(int port) const;
};

}  // namespace pinion::app
