CREATE TABLE `argo_archived_workflows` (
  `uid` varchar(128) NOT NULL,
  `name` varchar(256) NOT NULL,
  `phase` varchar(25) NOT NULL,
  `namespace` varchar(256) NOT NULL,
  `workflow` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (json_valid(`workflow`)),
  `startedat` timestamp NOT NULL DEFAULT current_timestamp(),
  `finishedat` timestamp NOT NULL DEFAULT current_timestamp(),
  `clustername` varchar(64) NOT NULL,
  `instanceid` varchar(64) NOT NULL,
  `creationtimestamp` timestamp NOT NULL DEFAULT current_timestamp(),
  PRIMARY KEY (`clustername`,`uid`),
  KEY `argo_archived_workflows_i2` (`clustername`,`instanceid`,`finishedat`),
  KEY `argo_archived_workflows_i3` (`clustername`,`instanceid`,`name`),
  KEY `argo_archived_workflows_i4` (`clustername`,`startedat`),
  KEY `argo_archived_workflows_i5` (`creationtimestamp`),
  KEY `argo_archived_workflows_i1` (`clustername`,`instanceid`,`namespace`,`startedat` DESC)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `argo_archived_workflows` VALUES
('bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682','old-rvfq9','Succeeded','archive','{\"kind\":\"Workflow\",\"apiVersion\":\"argoproj.io/v1alpha1\",\"metadata\":{\"name\":\"old-rvfq9\",\"generateName\":\"old-\",\"namespace\":\"archive\",\"uid\":\"bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682\",\"resourceVersion\":\"284371\",\"generation\":2,\"creationTimestamp\":\"2026-11-21T23:25:00Z\",\"labels\":{\"size\":\"7\",\"team\":\"blue\",\"workflows.argoproj.io/completed\":\"true\",\"workflows.argoproj.io/phase\":\"Succeeded\",\"workflows.argoproj.io/workflow-archiving-status\":\"Persisted\"},\"annotations\":{\"note\":\"by hand\",\"workflows.argoproj.io/pod-name-format\":\"v2\",\"workflows.argoproj.io/trace-id\":\"c042525350ee90cbe97a087469d455a3\"}},\"spec\":{\"templates\":[{\"name\":\"main\",\"inputs\":{},\"outputs\":{},\"metadata\":{},\"steps\":[[{\"name\":\"pause\",\"template\":\"pause\",\"arguments\":{},\"withItems\":[1,2]}]]},{\"name\":\"pause\",\"inputs\":{},\"outputs\":{},\"metadata\":{},\"suspend\":{\"duration\":\"0s\"}}],\"entrypoint\":\"main\",\"arguments\":{\"parameters\":[{\"name\":\"word\",\"value\":\"a \\u0000\"}]}},\"status\":{\"phase\":\"Succeeded\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"2/2\",\"nodes\":{\"old-rvfq9\":{\"id\":\"old-rvfq9\",\"name\":\"old-rvfq9\",\"displayName\":\"old-rvfq9\",\"type\":\"Steps\",\"templateName\":\"main\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"2/2\",\"children\":[\"old-rvfq9-197431063\"],\"outboundNodes\":[\"old-rvfq9-3826456565\",\"old-rvfq9-3808168119\"]},\"old-rvfq9-197431063\":{\"id\":\"old-rvfq9-197431063\",\"name\":\"old-rvfq9[0]\",\"displayName\":\"[0]\",\"type\":\"StepGroup\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"boundaryID\":\"old-rvfq9\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"2/2\",\"nodeFlag\":{},\"children\":[\"old-rvfq9-3826456565\",\"old-rvfq9-3808168119\"]},\"old-rvfq9-3808168119\":{\"id\":\"old-rvfq9-3808168119\",\"name\":\"old-rvfq9[0].pause(1:2)\",\"displayName\":\"pause(1:2)\",\"type\":\"Suspend\",\"templateName\":\"pause\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"boundaryID\":\"old-rvfq9\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"1/1\"},\"old-rvfq9-3826456565\":{\"id\":\"old-rvfq9-3826456565\",\"name\":\"old-rvfq9[0].pause(0:1)\",\"displayName\":\"pause(0:1)\",\"type\":\"Suspend\",\"templateName\":\"pause\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"boundaryID\":\"old-rvfq9\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"1/1\"}},\"conditions\":[{\"type\":\"Completed\",\"status\":\"True\"}],\"artifactRepositoryRef\":{\"default\":true,\"artifactRepository\":{}},\"artifactGCStatus\":{\"notSpecified\":true}}}','2026-11-21 23:25:00','2026-11-21 23:25:00','here','','2026-11-21 23:25:00');
CREATE TABLE `argo_archived_workflows_labels` (
  `clustername` varchar(64) NOT NULL,
  `uid` varchar(128) NOT NULL,
  `name` varchar(317) NOT NULL,
  `value` varchar(63) NOT NULL,
  PRIMARY KEY (`clustername`,`uid`,`name`),
  KEY `argo_archived_workflows_labels_i1` (`name`,`value`),
  CONSTRAINT `argo_archived_workflows_labels_ibfk_1` FOREIGN KEY (`clustername`, `uid`) REFERENCES `argo_archived_workflows` (`clustername`, `uid`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `argo_archived_workflows_labels` VALUES
('here','bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682','size','7'),
('here','bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682','team','blue'),
('here','bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682','workflows.argoproj.io/completed','true'),
('here','bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682','workflows.argoproj.io/phase','Succeeded'),
('here','bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682','workflows.argoproj.io/workflow-archiving-status','Persisted');
CREATE TABLE `argo_workflows` (
  `uid` varchar(128) NOT NULL,
  `namespace` varchar(256) NOT NULL,
  `creationtimestamp` timestamp NULL DEFAULT current_timestamp(),
  `clustername` varchar(64) NOT NULL,
  `version` varchar(64) NOT NULL,
  `nodes` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (json_valid(`nodes`)),
  `updatedat` timestamp NOT NULL DEFAULT current_timestamp(),
  PRIMARY KEY (`clustername`,`uid`,`version`),
  KEY `argo_workflows_i1` (`clustername`,`namespace`,`updatedat`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `argo_workflows` VALUES
('bbd74b8c-a9e9-44dc-96ec-8ca7b3f25682','archive','2026-11-21 23:25:00','here','fnv:3813376672','{\"old-rvfq9\":{\"id\":\"old-rvfq9\",\"name\":\"old-rvfq9\",\"displayName\":\"old-rvfq9\",\"type\":\"Steps\",\"templateName\":\"main\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"2/2\",\"children\":[\"old-rvfq9-197431063\"],\"outboundNodes\":[\"old-rvfq9-3826456565\",\"old-rvfq9-3808168119\"]},\"old-rvfq9-197431063\":{\"id\":\"old-rvfq9-197431063\",\"name\":\"old-rvfq9[0]\",\"displayName\":\"[0]\",\"type\":\"StepGroup\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"boundaryID\":\"old-rvfq9\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"2/2\",\"nodeFlag\":{},\"children\":[\"old-rvfq9-3826456565\",\"old-rvfq9-3808168119\"]},\"old-rvfq9-3808168119\":{\"id\":\"old-rvfq9-3808168119\",\"name\":\"old-rvfq9[0].pause(1:2)\",\"displayName\":\"pause(1:2)\",\"type\":\"Suspend\",\"templateName\":\"pause\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"boundaryID\":\"old-rvfq9\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"1/1\"},\"old-rvfq9-3826456565\":{\"id\":\"old-rvfq9-3826456565\",\"name\":\"old-rvfq9[0].pause(0:1)\",\"displayName\":\"pause(0:1)\",\"type\":\"Suspend\",\"templateName\":\"pause\",\"templateScope\":\"local/old-rvfq9\",\"phase\":\"Succeeded\",\"boundaryID\":\"old-rvfq9\",\"startedAt\":\"2026-11-21T23:25:00Z\",\"finishedAt\":\"2026-11-21T23:25:00Z\",\"progress\":\"1/1\"}}','2026-11-21 23:25:00');
CREATE TABLE `schema_history` (
  `schema_version` int(11) NOT NULL,
  PRIMARY KEY (`schema_version`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `schema_history` VALUES
(68);
