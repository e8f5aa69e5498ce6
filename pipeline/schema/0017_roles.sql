-- Roles of their own for the notifier and the reports by schedule: they read what a reader reads (`rootdx migrate` makes
-- them members), and note what they have sent. The analytics keep that right for settings of before.

GRANT INSERT, UPDATE ON notice TO rootdx_notify;
GRANT INSERT, UPDATE ON report_delivery TO rootdx_report;
