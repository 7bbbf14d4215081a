-- The platform's tables, as platform.md ("Database Schema") has them, and the indexes its queries need.
-- Every statement leaves alone what a loaded dump already has.

-- Patient data schema
CREATE TABLE IF NOT EXISTS patients (
    patient_id VARCHAR(50) PRIMARY KEY,
    demographics JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- Admission data schema
CREATE TABLE IF NOT EXISTS admissions (
    admission_id VARCHAR(50) PRIMARY KEY,
    patient_id VARCHAR(50) REFERENCES patients(patient_id),
    admission_date TIMESTAMP WITH TIME ZONE NOT NULL,
    discharge_date TIMESTAMP WITH TIME ZONE,
    primary_diagnosis VARCHAR(20),
    diagnoses JSONB,
    procedures JSONB,
    medications JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- Prediction data schema
CREATE TABLE IF NOT EXISTS predictions (
    prediction_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    patient_id VARCHAR(50) REFERENCES patients(patient_id),
    admission_id VARCHAR(50) REFERENCES admissions(admission_id),
    readmission_risk FLOAT NOT NULL,
    confidence_interval FLOAT[2],
    risk_factors JSONB,
    model_version VARCHAR(20) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- Model metadata schema
CREATE TABLE IF NOT EXISTS model_versions (
    model_version VARCHAR(20) PRIMARY KEY,
    model_type VARCHAR(50) NOT NULL,
    training_date TIMESTAMP WITH TIME ZONE NOT NULL,
    performance_metrics JSONB NOT NULL,
    fairness_metrics JSONB,
    active BOOLEAN DEFAULT FALSE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- A patient's earlier admissions (each prediction counts them), and the foreign keys' own look-ups.
CREATE INDEX IF NOT EXISTS admissions_patient_date ON admissions (patient_id, admission_date);
CREATE INDEX IF NOT EXISTS predictions_patient_created ON predictions (patient_id, created_at);
CREATE INDEX IF NOT EXISTS predictions_admission_created ON predictions (admission_id, created_at);
