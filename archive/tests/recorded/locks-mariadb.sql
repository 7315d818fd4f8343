CREATE TABLE `sync_controller` (
  `controller` varchar(64) NOT NULL,
  `time` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`controller`),
  UNIQUE KEY `icontroller_name` (`controller`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `sync_controller` VALUES ('argos','2026-11-22 07:25:54');
CREATE TABLE `sync_limit` (
  `name` varchar(256) NOT NULL,
  `sizelimit` int(11) DEFAULT NULL,
  PRIMARY KEY (`name`),
  UNIQUE KEY `ilimit_name` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `sync_limit` VALUES ('db-locks/places',2);
CREATE TABLE `sync_lock` (
  `name` varchar(256) NOT NULL,
  `controller` varchar(64) NOT NULL,
  `time` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`name`),
  UNIQUE KEY `ilock_name` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
CREATE TABLE `sync_schema_history` (
  `schema_version` int(11) NOT NULL,
  PRIMARY KEY (`schema_version`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `sync_schema_history` VALUES (10);
CREATE TABLE `sync_state` (
  `name` varchar(256) NOT NULL,
  `workflowkey` varchar(256) NOT NULL,
  `controller` varchar(64) NOT NULL,
  `held` tinyint(1) DEFAULT NULL,
  `priority` int(11) DEFAULT NULL,
  `time` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`name`,`workflowkey`,`controller`),
  KEY `istate_name` (`name`),
  KEY `istate_workflowkey` (`workflowkey`),
  KEY `istate_controller` (`controller`),
  KEY `istate_held` (`held`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
INSERT INTO `sync_state` VALUES ('mtx/db-locks/shared','db-locks/a1','argos',1,0,'2026-11-22 07:24:37');
INSERT INTO `sync_state` VALUES ('mtx/db-locks/shared','db-locks/a2','argos',0,5,'2026-11-22 07:24:38');
INSERT INTO `sync_state` VALUES ('sem/db-locks/places','db-locks/a1','argos',1,0,'2026-11-22 07:24:37');
INSERT INTO `sync_state` VALUES ('sem/db-locks/places','db-locks/a2','argos',0,5,'2026-11-22 07:24:38');
