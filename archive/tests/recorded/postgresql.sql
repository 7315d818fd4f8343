
CREATE TABLE public.argo_archived_workflows (
    uid character varying(128) NOT NULL,
    name character varying(256) NOT NULL,
    phase character varying(25) NOT NULL,
    namespace character varying(256) NOT NULL,
    workflow jsonb NOT NULL,
    startedat timestamp without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    finishedat timestamp without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    clustername character varying(64) NOT NULL,
    instanceid character varying(64) NOT NULL,
    creationtimestamp timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE public.argo_archived_workflows_labels (
    clustername character varying(64) NOT NULL,
    uid character varying(128) NOT NULL,
    name character varying(317) NOT NULL,
    value character varying(63) NOT NULL
);

CREATE TABLE public.argo_workflows (
    uid character varying(128) NOT NULL,
    namespace character varying(256) NOT NULL,
    creationtimestamp timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    clustername character varying(64) NOT NULL,
    version character varying(64) NOT NULL,
    nodes json NOT NULL,
    updatedat timestamp without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);

CREATE TABLE public.schema_history (
    schema_version integer NOT NULL
);

INSERT INTO public.argo_archived_workflows VALUES ('f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3', 'old-pj8jz', 'Succeeded', 'archive', '{"kind": "Workflow", "spec": {"arguments": {"parameters": [{"name": "word", "value": "a ARGO_POSTGRES_NULL_REPLACEMENT"}]}, "templates": [{"name": "main", "steps": [[{"name": "pause", "template": "pause", "arguments": {}, "withItems": [1, 2]}]], "inputs": {}, "outputs": {}, "metadata": {}}, {"name": "pause", "inputs": {}, "outputs": {}, "suspend": {"duration": "0s"}, "metadata": {}}], "entrypoint": "main"}, "status": {"nodes": {"old-pj8jz": {"id": "old-pj8jz", "name": "old-pj8jz", "type": "Steps", "phase": "Succeeded", "children": ["old-pj8jz-3320952493"], "progress": "2/2", "startedAt": "2026-11-21T23:24:08Z", "finishedAt": "2026-11-21T23:24:08Z", "displayName": "old-pj8jz", "templateName": "main", "outboundNodes": ["old-pj8jz-1919011123", "old-pj8jz-4102192561"], "templateScope": "local/old-pj8jz"}, "old-pj8jz-1919011123": {"id": "old-pj8jz-1919011123", "name": "old-pj8jz[0].pause(0:1)", "type": "Suspend", "phase": "Succeeded", "progress": "1/1", "startedAt": "2026-11-21T23:24:08Z", "boundaryID": "old-pj8jz", "finishedAt": "2026-11-21T23:24:08Z", "displayName": "pause(0:1)", "templateName": "pause", "templateScope": "local/old-pj8jz"}, "old-pj8jz-3320952493": {"id": "old-pj8jz-3320952493", "name": "old-pj8jz[0]", "type": "StepGroup", "phase": "Succeeded", "children": ["old-pj8jz-1919011123", "old-pj8jz-4102192561"], "nodeFlag": {}, "progress": "2/2", "startedAt": "2026-11-21T23:24:08Z", "boundaryID": "old-pj8jz", "finishedAt": "2026-11-21T23:24:08Z", "displayName": "[0]", "templateScope": "local/old-pj8jz"}, "old-pj8jz-4102192561": {"id": "old-pj8jz-4102192561", "name": "old-pj8jz[0].pause(1:2)", "type": "Suspend", "phase": "Succeeded", "progress": "1/1", "startedAt": "2026-11-21T23:24:08Z", "boundaryID": "old-pj8jz", "finishedAt": "2026-11-21T23:24:08Z", "displayName": "pause(1:2)", "templateName": "pause", "templateScope": "local/old-pj8jz"}}, "phase": "Succeeded", "progress": "2/2", "startedAt": "2026-11-21T23:24:08Z", "conditions": [{"type": "Completed", "status": "True"}], "finishedAt": "2026-11-21T23:24:08Z", "artifactGCStatus": {"notSpecified": true}, "artifactRepositoryRef": {"default": true, "artifactRepository": {}}}, "metadata": {"uid": "f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3", "name": "old-pj8jz", "labels": {"size": "7", "team": "blue", "workflows.argoproj.io/phase": "Succeeded", "workflows.argoproj.io/completed": "true", "workflows.argoproj.io/workflow-archiving-status": "Persisted"}, "namespace": "archive", "generation": 2, "annotations": {"note": "by hand", "workflows.argoproj.io/trace-id": "fa2a34cc05ddd6646576aa0769085b9c", "workflows.argoproj.io/pod-name-format": "v2"}, "generateName": "old-", "resourceVersion": "284344", "creationTimestamp": "2026-11-21T23:24:08Z"}, "apiVersion": "argoproj.io/v1alpha1"}', '2026-11-21 23:24:08', '2026-11-21 23:24:08', 'here', '', '2026-11-21 23:24:08');

INSERT INTO public.argo_archived_workflows_labels VALUES ('here', 'f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3', 'workflows.argoproj.io/completed', 'true');
INSERT INTO public.argo_archived_workflows_labels VALUES ('here', 'f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3', 'workflows.argoproj.io/phase', 'Succeeded');
INSERT INTO public.argo_archived_workflows_labels VALUES ('here', 'f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3', 'workflows.argoproj.io/workflow-archiving-status', 'Persisted');
INSERT INTO public.argo_archived_workflows_labels VALUES ('here', 'f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3', 'size', '7');
INSERT INTO public.argo_archived_workflows_labels VALUES ('here', 'f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3', 'team', 'blue');

INSERT INTO public.argo_workflows VALUES ('45d9c186-07d3-4ea3-82be-27d26cb272ee', 'archive', '2026-11-21 23:23:43.782948', 'here', 'fnv:251039680', '{"old-tt8mn":{"id":"old-tt8mn","name":"old-tt8mn","displayName":"old-tt8mn","type":"Steps","templateName":"main","templateScope":"local/old-tt8mn","phase":"Succeeded","startedAt":"2026-11-21T23:23:43Z","finishedAt":"2026-11-21T23:23:43Z","progress":"2/2","children":["old-tt8mn-2469230702"],"outboundNodes":["old-tt8mn-4043075422","old-tt8mn-3315613572"]},"old-tt8mn-2469230702":{"id":"old-tt8mn-2469230702","name":"old-tt8mn[0]","displayName":"[0]","type":"StepGroup","templateScope":"local/old-tt8mn","phase":"Succeeded","boundaryID":"old-tt8mn","startedAt":"2026-11-21T23:23:43Z","finishedAt":"2026-11-21T23:23:43Z","progress":"2/2","nodeFlag":{},"children":["old-tt8mn-4043075422","old-tt8mn-3315613572"]},"old-tt8mn-3315613572":{"id":"old-tt8mn-3315613572","name":"old-tt8mn[0].pause(1:2)","displayName":"pause(1:2)","type":"Suspend","templateName":"pause","templateScope":"local/old-tt8mn","phase":"Succeeded","boundaryID":"old-tt8mn","startedAt":"2026-11-21T23:23:43Z","finishedAt":"2026-11-21T23:23:43Z","progress":"1/1"},"old-tt8mn-4043075422":{"id":"old-tt8mn-4043075422","name":"old-tt8mn[0].pause(0:1)","displayName":"pause(0:1)","type":"Suspend","templateName":"pause","templateScope":"local/old-tt8mn","phase":"Succeeded","boundaryID":"old-tt8mn","startedAt":"2026-11-21T23:23:43Z","finishedAt":"2026-11-21T23:23:43Z","progress":"1/1"}}', '2026-11-21 23:23:43.782948');
INSERT INTO public.argo_workflows VALUES ('f3a7aabc-c929-4657-a2b9-f3d3d8f1afb3', 'archive', '2026-11-21 23:24:08.444299', 'here', 'fnv:1528256554', '{"old-pj8jz":{"id":"old-pj8jz","name":"old-pj8jz","displayName":"old-pj8jz","type":"Steps","templateName":"main","templateScope":"local/old-pj8jz","phase":"Succeeded","startedAt":"2026-11-21T23:24:08Z","finishedAt":"2026-11-21T23:24:08Z","progress":"2/2","children":["old-pj8jz-3320952493"],"outboundNodes":["old-pj8jz-1919011123","old-pj8jz-4102192561"]},"old-pj8jz-1919011123":{"id":"old-pj8jz-1919011123","name":"old-pj8jz[0].pause(0:1)","displayName":"pause(0:1)","type":"Suspend","templateName":"pause","templateScope":"local/old-pj8jz","phase":"Succeeded","boundaryID":"old-pj8jz","startedAt":"2026-11-21T23:24:08Z","finishedAt":"2026-11-21T23:24:08Z","progress":"1/1"},"old-pj8jz-3320952493":{"id":"old-pj8jz-3320952493","name":"old-pj8jz[0]","displayName":"[0]","type":"StepGroup","templateScope":"local/old-pj8jz","phase":"Succeeded","boundaryID":"old-pj8jz","startedAt":"2026-11-21T23:24:08Z","finishedAt":"2026-11-21T23:24:08Z","progress":"2/2","nodeFlag":{},"children":["old-pj8jz-1919011123","old-pj8jz-4102192561"]},"old-pj8jz-4102192561":{"id":"old-pj8jz-4102192561","name":"old-pj8jz[0].pause(1:2)","displayName":"pause(1:2)","type":"Suspend","templateName":"pause","templateScope":"local/old-pj8jz","phase":"Succeeded","boundaryID":"old-pj8jz","startedAt":"2026-11-21T23:24:08Z","finishedAt":"2026-11-21T23:24:08Z","progress":"1/1"}}', '2026-11-21 23:24:08.444299');

INSERT INTO public.schema_history VALUES (68);

ALTER TABLE ONLY public.argo_archived_workflows_labels
    ADD CONSTRAINT argo_archived_workflows_labels_pkey PRIMARY KEY (clustername, uid, name);

ALTER TABLE ONLY public.argo_archived_workflows
    ADD CONSTRAINT argo_archived_workflows_pkey PRIMARY KEY (clustername, uid);

ALTER TABLE ONLY public.argo_workflows
    ADD CONSTRAINT argo_workflows_pkey PRIMARY KEY (clustername, uid, version);

ALTER TABLE ONLY public.schema_history
    ADD CONSTRAINT schema_history_pkey PRIMARY KEY (schema_version);

CREATE INDEX argo_archived_workflows_i1 ON public.argo_archived_workflows USING btree (clustername, instanceid, namespace, startedat DESC);

CREATE INDEX argo_archived_workflows_i2 ON public.argo_archived_workflows USING btree (clustername, instanceid, finishedat);

CREATE INDEX argo_archived_workflows_i3 ON public.argo_archived_workflows USING btree (clustername, instanceid, name);

CREATE INDEX argo_archived_workflows_i4 ON public.argo_archived_workflows USING btree (clustername, startedat);

CREATE INDEX argo_archived_workflows_i5 ON public.argo_archived_workflows USING btree (creationtimestamp);

CREATE INDEX argo_archived_workflows_labels_i1 ON public.argo_archived_workflows_labels USING btree (name, value);

CREATE INDEX argo_workflows_i1 ON public.argo_workflows USING btree (clustername, namespace, updatedat);

ALTER TABLE ONLY public.argo_archived_workflows_labels
    ADD CONSTRAINT argo_archived_workflows_labels_clustername_uid_fkey FOREIGN KEY (clustername, uid) REFERENCES public.argo_archived_workflows(clustername, uid) ON DELETE CASCADE;

